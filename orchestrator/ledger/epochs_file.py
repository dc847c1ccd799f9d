"""The metrics of a trial as a Parquet file: a row for each epoch and prediction, which any tool can read.

``pandas.read_parquet("runs/trials/ID/metrics.parquet")`` is one; a list of such paths gives many.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from anytime_core.result import USAGE, EpochMetrics

OF_EPOCH = {
    "epoch": pa.int32(),
    "step": pa.int32(),
    "learning_rate": pa.float64(),
    "seconds": pa.float64(),
    "timestamp": pa.float64(),
    **dict.fromkeys(USAGE, pa.float64()),
}
OF_PREDICTION = {
    "train_loss": pa.float64(),
    "train_error": pa.float64(),
    "test_loss": pa.float64(),
    "test_error": pa.float64(),
    "probability": pa.float64(),
}
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
memory is in bytes. ``prediction`` counts from 1; ``probability`` is null where the strategy amplifies no loss."""
WITHOUT_USAGE = pa.schema([column for column in SCHEMA if column.name not in USAGE])
"""As older versions wrote it."""
SEAL = b"sha256"
"""In the schema's metadata: a checksum of all rows."""


def pack(trial_id: str, units: Sequence[int], costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> bytes:
    rows = [
        {
            "trial_id": trial_id,
            "prediction": index + 1,
            "unit": unit,
            "cost": cost,
            **{name: getattr(epoch, name) for name in OF_EPOCH},
            **{name: getattr(epoch, name)[index] for name in ("train_loss", "train_error", "test_loss", "test_error")},
            "probability": epoch.probabilities[index] if epoch.probabilities else None,
        }
        for epoch in epochs
        for index, (unit, cost) in enumerate(zip(units, costs, strict=True))
    ]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    table = table.replace_schema_metadata({SEAL: _digest(table.to_pylist())})
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _digest(rows: list[dict[str, object]]) -> bytes:
    """Pages have checksums of their own, but what says where they are and how many has not."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest().encode()


def read(path: Path) -> list[EpochMetrics]:
    """Raises ValueError for a damaged file."""
    return unpack(path.read_bytes())


def unpack(content: bytes) -> list[EpochMetrics]:
    """Raises ValueError unless all numbers are as ``pack`` wrote them."""
    try:
        # Not pq.read_table: a thread of Arrow's frees its buffer later, and aborts a process that is ending just then.
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:  # some are ValueErrors, not all
        raise ValueError(str(error)) from error
    if not any(map(table.schema.equals, (SCHEMA, WITHOUT_USAGE))):
        raise ValueError(f"its columns are {', '.join(table.schema.names)}")
    rows = table.to_pylist()
    seal = (table.schema.metadata or {}).get(SEAL)  # not there in what an older version wrote
    if seal is not None and seal != _digest(rows):
        raise ValueError("checksum does not match")
    return [_epoch(list(group)) for _, group in groupby(rows, key=itemgetter("epoch"))]


def _epoch(rows: list[dict[str, float]]) -> EpochMetrics:
    def column(name: str) -> tuple[float, ...]:
        return tuple(row[name] for row in rows if row[name] is not None)

    return EpochMetrics(
        epoch=int(rows[0]["epoch"]),
        step=int(rows[0]["step"]),
        learning_rate=rows[0]["learning_rate"],
        train_loss=column("train_loss"),
        train_error=column("train_error"),
        test_loss=column("test_loss"),
        test_error=column("test_error"),
        probabilities=column("probability"),
        seconds=rows[0]["seconds"],
        timestamp=rows[0]["timestamp"],
        **{name: rows[0].get(name) for name in USAGE},
    )
