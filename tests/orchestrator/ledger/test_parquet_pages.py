"""A small Parquet file that becomes a large table, or a hostile one, is damaged in a moment."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.ledger import epochs_file
from orchestrator.ledger.parquet_pages import unpacked_size


def packed(rows: list[dict[str, object]], **options: object) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=epochs_file.SCHEMA), buffer, compression="zstd", **options)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


@pytest.fixture
def rows(make_epochs) -> list[dict[str, object]]:
    content = epochs_file.pack("a", (1, 2), (1, 2), make_epochs(3, 2))
    return pq.read_table(pa.BufferReader(content)).to_pylist()  # type: ignore[no-any-return]


def metadata(content: bytes) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(content))


@pytest.mark.parametrize(
    "options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"data_page_size": 64}]
)
def test_the_size_is_what_the_writer_says_but_for_the_headers(options, rows) -> None:
    content = packed(rows * 500, **options)
    group = metadata(content).row_group(0)
    said = sum(group.column(index).total_uncompressed_size for index in range(group.num_columns))
    assert 0 < said - unpacked_size(content, metadata(content)) < 20_000


def repeated(row: dict[str, object], count: int) -> bytes:
    """So many equal rows, which take no room."""
    names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([row["trial_id"]]))
    others = [pa.repeat(pa.scalar(row[name], epochs_file.SCHEMA.field(name).type), count) for name in list(row)[1:]]
    table, buffer = pa.table([names, *others], names=list(row)), pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize(("change", "count"), [({"trial_id": "x" * 2**26}, 1), ({}, 2**19)])
def test_a_bomb_is_refused_at_once(change, count, rows) -> None:
    """One text of 64 MB, and half a million rows."""
    content = repeated(rows[0] | change, count)
    assert len(content) < 10**5
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"would become|rows in"):
        epochs_file.unpack(content)
    assert time.monotonic() - began < 1


def test_a_name_that_many_rows_share_takes_its_room_once(rows) -> None:
    """Each of 60,000 rows with its own copy would take 60 GB."""
    content = repeated(rows[0] | {"trial_id": "x" * 10**6}, 60_000)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match="not of one trial"):
        epochs_file.unpack(content, 2)
    assert pa.default_memory_pool().max_memory() - before < 2**28


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_page_says_is_an_error_or_a_size(seed, rows) -> None:
    rng, content = random.Random(seed), packed(rows)
    whole = metadata(content)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(5):
            damaged[rng.randrange(len(content))] = rng.randrange(256)
        with suppress(ValueError):
            assert unpacked_size(bytes(damaged), whole) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"test_error": None},
        {"epoch": None},
        {"epoch": 1, "step": None},
        {"learning_rate": None},
        {"trial_id": None, "step": 0},
        {"step": 10**6},
    ],
)
def test_rows_that_are_no_epochs_are_damaged(change, rows) -> None:
    with pytest.raises(ValueError, match=r"is 'None|do not follow|\[None|predictions|of one trial"):
        epochs_file.unpack(packed([rows[0] | change, *rows[1:]]))


def test_metrics_of_many_epochs_are_read(make_epochs) -> None:
    epochs = make_epochs(2000, 3)
    assert epochs_file.unpack(epochs_file.pack("a", (1, 2, 3), (1, 2, 3), epochs), 3) == epochs
