"""The metrics of a trial as a Parquet file: a row for each epoch and prediction, which any tool can read.

``pandas.read_parquet("runs/trials/ID/metrics.parquet")`` is one; a list of such paths gives many. The ``attrs`` of that
frame say what trial it is; ``orchestrator.api`` gives frames with the names that a sweep has for its methods.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anytime_core.files import read_plain
from anytime_core.result import ENERGY, TIMES, USAGE, EpochMetrics
from orchestrator.ledger import sealed_parquet
from orchestrator.ledger.parquet_pages import unpacked_size

OF_EPOCH = {
    "epoch": pa.int32(),
    "step": pa.int32(),
    "learning_rate": pa.float64(),
    "seconds": pa.float64(),
    "timestamp": pa.float64(),
    **dict.fromkeys((*USAGE, *TIMES, *ENERGY), pa.float64()),
}
OF_PREDICTION = {
    "train_loss": pa.float64(),
    "train_error": pa.float64(),
    "test_loss": pa.float64(),
    "test_error": pa.float64(),
    "probability": pa.float64(),
}
FIELDS = {name: name for name in OF_PREDICTION} | {"probability": "probabilities"}
"""Each column of the predictions, and the field of an epoch that it holds."""
LACKING = ("test_loss", "test_error", "probabilities")
"""Fields that an epoch may be without."""
SCHEMA = pa.schema(
    {
        "trial_id": pa.string(),
        "prediction": pa.int32(),
        "unit": pa.int32(),
        "cost": pa.int64(),
        **OF_EPOCH,
        **OF_PREDICTION,
    }
)
"""Errors are in percent, costs in multiply-adds of one image, seconds are those of the epoch, timestamps since 1970,
memory is in bytes. ``prediction`` counts from 1; ``probability`` is null where the strategy amplifies no loss,
``test_loss`` and ``test_error`` where the epoch ended without an evaluation."""
WITHOUT_ENERGY = pa.schema([column for column in SCHEMA if column.name not in ENERGY])
WITHOUT_TIMES = pa.schema([column for column in WITHOUT_ENERGY if column.name not in TIMES])
WITHOUT_USAGE = pa.schema([column for column in WITHOUT_TIMES if column.name not in USAGE])
"""As older versions wrote it."""
MOST = 1 << 30
"""Bytes of a file: 100,000 epochs of 100 predictions take 400 MB."""
LONGEST_NAME = 256
"""Letters of a trial's id, of which each row gets a copy."""
FEW_ROWS, FEW_BYTES, GROWS = 1 << 16, 1 << 24, 16
"""A file may unpack to so many rows and bytes, and so many times its own: losses are all different, and do not pack."""
SEAL = b"sha256"
"""In the schema's metadata: a checksum of all rows."""
ATTRS = b"PANDAS_ATTRS"
"""The same, of what pandas makes the ``attrs`` of a frame; no reader of ours looks at it."""


def pack(
    trial_id: str,
    units: Sequence[int],
    costs: Sequence[int],
    epochs: Sequence[EpochMetrics],
    about: Mapping[str, str | int | None] | None = None,
) -> bytes:
    """``about`` says what trial it is, as ``orchestrator.sweep.trial.place_words`` does."""
    rows = [
        {
            "trial_id": trial_id,
            "prediction": index + 1,
            "unit": unit,
            "cost": cost,
            **{name: getattr(epoch, name) for name in OF_EPOCH},
            **{name: getattr(epoch, field)[index] if getattr(epoch, field) else None for name, field in FIELDS.items()},
        }
        for epoch in epochs
        for index, (unit, cost) in enumerate(zip(units, costs, strict=True))
    ]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    words = json.dumps({"trial": trial_id, **(about or {})}).encode()
    table = table.replace_schema_metadata({SEAL: _digest(table.to_pylist()), ATTRS: words})
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return sealed_parquet.seal(buffer.getvalue())


def _digest(rows: list[dict[str, object]]) -> bytes:
    """Pages have checksums of their own, but what says where they are and how many has not."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest().encode()


def read(path: Path) -> list[EpochMetrics]:
    """Raises ValueError for a damaged file."""
    return unpack(read_plain(path.parent, path.name, MOST))


def unpack(content: bytes, predictions: int | None = None) -> list[EpochMetrics]:
    """Raises ValueError unless all numbers are as ``pack`` wrote them, of so many predictions where that is known."""
    try:
        table = _table(content)
    except (pa.ArrowException, LookupError, MemoryError, OSError) as error:  # some are ValueErrors, not all
        raise ValueError(str(error)) from error
    rows = table.to_pylist()
    seal = (table.schema.metadata or {}).get(SEAL)  # not there in what an older version wrote
    if seal is not None and seal != _digest(rows):
        raise ValueError("checksum does not match")
    epochs = [_epoch(list(group)) for _, group in groupby(rows, key=itemgetter("epoch"))]
    if any(later.epoch <= epoch.epoch or later.step <= epoch.step for epoch, later in pairwise(epochs)):
        raise ValueError("its epochs do not follow one another")
    counts = {len(epoch.train_error) for epoch in epochs}
    if len(counts) > 1 or (predictions and counts - {predictions}):
        raise ValueError(f"its epochs have {' or '.join(map(str, sorted(counts)[:3]))} predictions")
    return epochs


def _table(content: bytes) -> pa.Table:
    """Raises ValueError, or what Arrow raises, for what is no such table or would need far more room than the file."""
    sealed_parquet.check(content)
    buffer = pa.BufferReader(content)
    metadata = pq.read_metadata(buffer)
    columns = metadata.schema.to_arrow_schema()
    if not any(map(columns.equals, (SCHEMA, WITHOUT_ENERGY, WITHOUT_TIMES, WITHOUT_USAGE))):
        raise ValueError(f"its columns are {', '.join(columns.names)[:200]}")
    if (rows := metadata.num_rows) > FEW_ROWS + len(content):
        raise ValueError(f"it has {rows} rows in {len(content)} bytes")
    if not rows:
        return columns.empty_table()
    if (size := unpacked_size(content, metadata)) > FEW_BYTES + GROWS * len(content):
        raise ValueError(f"its {len(content)} bytes would become {size}")
    # Not pq.read_table: a thread of Arrow's frees its buffer later, and aborts a process that is ending just then.
    file = pq.ParquetFile(buffer, metadata=metadata, page_checksum_verification=True, read_dictionary=["trial_id"])
    table = file.read(use_threads=False)
    table.validate(full=True)
    names = {name for chunk in table["trial_id"].chunks for name in chunk.dictionary.to_pylist()}
    if len(names) > 1 or table["trial_id"].null_count or len("".join(map(str, names))) > LONGEST_NAME:
        raise ValueError("its rows are not of one trial")
    return table


def _epoch(rows: list[dict[str, Any]]) -> EpochMetrics:
    columns = {field: [row[name] for row in rows] for name, field in FIELDS.items()}
    return EpochMetrics.of(
        {
            **{name: rows[0][name] for name in OF_EPOCH if name in rows[0]},
            **columns,
            **{field: [] for field in LACKING if set(columns[field]) == {None}},
        }
    )
