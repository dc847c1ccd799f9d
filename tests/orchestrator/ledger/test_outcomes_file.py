"""Outcomes come back as they were written, any tool can read them, and a damaged file is never taken for another."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.outcomes import PROBABILITIES, Outcomes, of_logits
from orchestrator.ledger import outcomes_file


def outcomes(predictions: int, images: int, classes: int, seed: int = 0) -> Outcomes:
    draws = np.random.default_rng(seed)
    logits = draws.normal(scale=4, size=(predictions, images, classes))
    return of_logits(logits, draws.integers(classes, size=images), tuple(range(1, predictions + 1)))


def same(one: Outcomes, other: Outcomes) -> bool:
    names = ("labels", "classes", *PROBABILITIES)
    return (one.costs, one.product_right) == (other.costs, other.product_right) and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in names
    )


@given(st.integers(1, 4), st.integers(1, 9), st.sampled_from([2, 10, 300]), st.booleans(), st.booleans())
def test_they_come_back_as_they_were(
    predictions: int, images: int, classes: int, held_out: bool, counted: bool
) -> None:
    written = {"test": outcomes(predictions, images, classes)}
    if counted:
        written["test"] = replace(written["test"], product_right=tuple(min(k, images) for k in range(predictions)))
    if held_out:
        written = {"validation": outcomes(predictions, images + 1, classes, seed=1), **written}
    read = outcomes_file.unpack(outcomes_file.pack(written))
    assert [*read] == [*written]
    assert all(same(read[split], written[split]) for split in written)


def test_pandas_reads_a_row_for_each_image() -> None:
    written = outcomes(3, 5, 10)
    frame = pd.read_parquet(io.BytesIO(outcomes_file.pack({"test": written})))
    assert [*frame.columns[:4]] == ["split", "label", "class_1", "confidence_1"]
    assert len(frame) == 5
    assert frame["label"].tolist() == written.labels.tolist()
    assert frame["of_truth_3"].tolist() == written.of_truth[2].tolist()


def test_a_number_takes_seven_bytes_at_most() -> None:
    size = len(outcomes_file.pack({"test": outcomes(20, 2000, 10)}))
    assert size < 20 * 2000 * 7.2


def test_a_file_is_refused_where_another_network_is_known_to_be_the_trials() -> None:
    written = {"test": outcomes(2, 30, 10)}
    named, nameless = outcomes_file.pack(written, "aaaa"), outcomes_file.pack(written)
    for content, network_hash in ((named, "aaaa"), (named, ""), (nameless, "aaaa")):
        assert same(outcomes_file.unpack(content, network_hash)["test"], written["test"])
    with pytest.raises(outcomes_file.OtherNetworkError, match="of network aaaa, and its trial trained bbbb"):
        outcomes_file.unpack(named, "bbbb")


@pytest.mark.parametrize("seed", range(40))
def test_what_was_damaged_is_refused_or_says_the_same(seed: int) -> None:
    rng, written = random.Random(seed), {"test": outcomes(2, 40, 10)}
    content = bytearray(outcomes_file.pack(written))
    match seed % 3:
        case 0:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case 1:
            del content[rng.randrange(len(content)) :]
        case _:
            start = rng.randrange(len(content))
            content[start : start + 32] = rng.randbytes(32)
    try:
        read = outcomes_file.unpack(bytes(content))
    except ValueError:
        return
    assert same(read["test"], written["test"])


def test_a_file_that_would_fill_the_memory_is_refused() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"split": pa.array(np.zeros(1 << 26))}), buffer, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match="bytes would become"):
        outcomes_file.unpack(buffer.getvalue())


def test_a_file_without_counts_of_product_anytime_is_sealed_as_before_there_were_any() -> None:
    """By its columns and costs alone: so older files are read."""
    written = outcomes(2, 30, 10)
    table = pq.read_table(io.BytesIO(outcomes_file.pack({"test": written})))
    digest = hashlib.sha256(b"[1, 2]")
    for name in table.column_names:
        values = table[name].to_numpy()
        said = "\0".join(values).encode() if name == "split" else values.tobytes()
        digest.update(f"{name}\0".encode() + said)
    assert table.schema.metadata[b"sha256"] == digest.hexdigest().encode()
    assert set(table.schema.metadata) == {b"sha256", b"costs"}


@pytest.mark.parametrize("other", [None, b'{"test": [2, 4]}'])
def test_counts_of_product_anytime_are_sealed(other: bytes | None) -> None:
    content = outcomes_file.pack({"test": replace(outcomes(2, 30, 10), product_right=(2, 3))})
    table, buffer = pq.read_table(io.BytesIO(content)), io.BytesIO()
    changed = {name: value for name, value in table.schema.metadata.items() if name != b"product_right"}
    changed |= {b"product_right": other} if other else {}
    pq.write_table(table.replace_schema_metadata(changed), buffer)
    with pytest.raises(ValueError, match="checksum does not match"):
        outcomes_file.unpack(buffer.getvalue())


def test_a_table_of_something_else_is_refused() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"split": ["train"], "label": [1]}), buffer)
    with pytest.raises(ValueError, match="its splits are not among test, validation"):
        outcomes_file.unpack(buffer.getvalue())
