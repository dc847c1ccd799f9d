"""A damaged Parquet file of the ledger's is refused before Arrow sees it, which a flipped bit can make abort the
process; and any tool reads a sealed one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anytime_core.outcomes import of_logits
from orchestrator.ledger import epochs_file, outcomes_file, sealed_parquet
from orchestrator.ledger.sealed_parquet import MARKER, SIZE, check, seal

Reader = Callable[[bytes], Any]


@pytest.fixture(params=["metrics", "outcomes"])
def file(request, make_epochs) -> tuple[bytes, Reader]:
    """A small one of each kind, and what reads it into plain values."""
    if request.param == "metrics":
        content = epochs_file.pack("ab12", (1, 2), (10, 20), make_epochs(2, 2))
        return content, lambda given: [asdict(epoch) for epoch in epochs_file.unpack(given)]
    draws = np.random.default_rng(0)
    kept = of_logits(draws.normal(size=(2, 12, 3)), draws.integers(3, size=12), (10, 20))
    return outcomes_file.pack({"test": kept}, "aaaa"), lambda given: _plain(outcomes_file.unpack(given)["test"])


def _plain(outcomes: Any) -> list[Any]:
    return [np.asarray(value).tolist() for value in asdict(outcomes).values()]


def without_seal(content: bytes) -> bytes:
    """As an older version wrote it."""
    place = content.index(MARKER)
    return content[:place] + content[place + SIZE :]


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_flipped_bit_and_every_cut_is_refused_before_arrow_sees_it(file) -> None:
    content, read = file
    place = content.index(MARKER)
    marker = range(8 * place, 8 * (place + len(MARKER)))
    for bit in range(8 * len(content)):
        if bit not in marker:
            with pytest.raises(ValueError, match=r"checksum|seal|begin or end"):
                check(flipped(content, bit))
    for length in range(len(content)):
        with pytest.raises(ValueError, match="begin or end"):
            check(content[:length])
    # Without its marker it is a file without a seal, of which all else is whole.
    expected = read(content)
    assert all(read(flipped(content, bit)) == expected for bit in marker)


def test_what_is_damaged_is_refused_or_says_the_same(file) -> None:
    content, read = file
    expected, refused = read(content), 0
    for damaged in _damaged(content, random.Random(0)):
        try:
            assert read(damaged) == expected
        except ValueError:
            refused += 1
    assert refused > 450


def _damaged(content: bytes, rng: random.Random) -> Iterator[bytes]:
    for _ in range(300):
        yield flipped(content, rng.randrange(8 * len(content)))
    for _ in range(100):
        yield content[: rng.randrange(len(content))]
    for _ in range(100):
        start = rng.randrange(len(content) - 32)
        yield content[:start] + rng.randbytes(32) + content[start + 32 :]


def test_a_seal_moves_no_offset_and_changes_nothing_else(file) -> None:
    content, _ = file
    before = without_seal(content)
    assert seal(before) == content
    assert content.startswith(before[: content.index(MARKER)])
    assert before.endswith(content[content.index(MARKER) + SIZE :])
    one, other = (pq.read_metadata(io.BytesIO(each)) for each in (before, content))
    assert one.to_dict() == other.to_dict()


def test_a_file_of_an_older_version_is_read_as_before(file) -> None:
    content, read = file
    assert read(without_seal(content)) == read(content)


def test_a_seal_elsewhere_than_before_the_footer_is_refused(file) -> None:
    content, read = file
    place = content.index(MARKER)
    for moved in (
        content[: place + SIZE] + b"\0" + content[place + SIZE :],
        content[:place] + b"\0" * SIZE + content[place : place + SIZE] + content[place + SIZE :] + content[-8:],
    ):
        with pytest.raises(ValueError, match="its seal is not before its footer"):
            read(moved)


def test_a_seal_with_another_digest_is_refused(file) -> None:
    content, read = file
    place = content.index(MARKER)
    with pytest.raises(ValueError, match="checksum does not match"):
        read(content[:place] + MARKER + bytes(SIZE - len(MARKER)) + content[place + SIZE :])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"\0" * 100, b"PAR1" + b"\xff" * 4 + b"PAR1"])
def test_what_is_no_parquet_is_refused(content) -> None:
    for refuse in (seal, check):
        with pytest.raises(ValueError, match="begin or end"):
            refuse(content)


# For other tools


def test_pandas_and_pyarrow_read_what_is_sealed(file) -> None:
    content, _ = file
    before = without_seal(content)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(content)), pd.read_parquet(io.BytesIO(before)))
    assert pq.read_table(io.BytesIO(content)).equals(pq.read_table(io.BytesIO(before)), check_metadata=True)


def test_duckdb_reads_what_is_sealed(file, tmp_path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "sealed.parquet"
    path.write_bytes(file[0])
    found = duckdb.sql(f"select * from '{path}'").df()
    pd.testing.assert_frame_equal(found, pd.read_parquet(path), check_dtype=False)


def test_a_file_of_many_row_groups_is_sealed_as_well() -> None:
    table, buffer = pa.table({"number": range(1000)}), io.BytesIO()
    pq.write_table(table, buffer, row_group_size=10, write_page_index=True)
    sealed = sealed_parquet.seal(buffer.getvalue())
    check(sealed)
    assert pq.read_table(io.BytesIO(sealed)).equals(table)
