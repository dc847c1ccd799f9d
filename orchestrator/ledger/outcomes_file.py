"""What a trained network answers to each image, as a Parquet file: a row for each image, four columns for each
prediction.

``pandas.read_parquet("runs/trials/ID/outcomes.parquet")`` is one. The columns ``class_3``, ``confidence_3``,
``of_truth_3`` and ``entropy_3`` are those of the third prediction; see ``anytime_core.outcomes.Outcomes``.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anytime_core.outcomes import Array, Outcomes
from orchestrator.ledger import sealed_parquet
from orchestrator.ledger.parquet_pages import unpacked_size

SPLITS = ("test", "validation")
OF_ONE = {"class": "classes", "confidence": "confidence", "of_truth": "of_truth", "entropy": "entropy"}
"""Columns of a prediction, and what they are called in Outcomes."""
SEAL, COSTS, PRODUCT, NETWORK = b"sha256", b"costs", b"product_right", b"network_hash"
"""In the schema's metadata: a checksum of all columns and of the next two; the multiply-adds of one image up to each
prediction; by split how many images Product Anytime has right; and which network it was, as
``anytime_core.trained.network_hash`` says. Older files lack the last two."""
MOST = 1 << 32
"""Bytes of a file: 50 predictions of a million images take 350 MB."""
GROWS, FEW_BYTES = 64, 1 << 24
"""A file may unpack to so many times its size, and so many bytes: a network that is sure of all repeats itself."""


class OtherNetworkError(ValueError):
    """The file is undamaged, and of another network."""


def pack(by_split: Mapping[str, Outcomes], network_hash: str = "") -> bytes:
    """``by_split`` are of one network, the one of that hash where it is known. A split of ``test`` or ``validation``
    alone may be there."""
    some = next(iter(by_split.values()))
    columns = dict(_columns(by_split))
    others = {COSTS: json.dumps(some.costs).encode()}
    if counted := {split: each.product_right for split, each in by_split.items() if each.product_right is not None}:
        others[PRODUCT] = json.dumps(counted).encode()
    metadata = {SEAL: _digest(columns, others), **others}
    if network_hash:
        metadata[NETWORK] = network_hash.encode()
    table = pa.table({name: pa.array(values) for name, values in columns.items()}).replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["split"], write_page_checksum=True)
    return sealed_parquet.seal(buffer.getvalue())


def _columns(by_split: Mapping[str, Outcomes]) -> Iterator[tuple[str, Array]]:
    splits = list(by_split.values())
    yield "split", np.repeat(np.array([*by_split], dtype=object), [len(each.labels) for each in splits])
    yield "label", np.concatenate([each.labels for each in splits]).astype(np.uint16)
    for index in range(len(splits[0].costs)):
        for name, kept in OF_ONE.items():
            yield f"{name}_{index + 1}", np.concatenate([getattr(each, kept)[index] for each in splits])


def _digest(columns: Mapping[str, Array], others: Mapping[bytes, bytes]) -> bytes:
    """Of all columns and of the metadata ``others``."""
    digest = hashlib.sha256(others[COSTS] + others.get(PRODUCT, b""))
    for name, values in columns.items():
        said = "\0".join(values).encode() if values.dtype == object else np.ascontiguousarray(values).tobytes()
        digest.update(f"{name}\0".encode() + said)
    return digest.hexdigest().encode()


def unpack(content: bytes, network_hash: str = "") -> dict[str, Outcomes]:
    """Raises ValueError unless all is as ``pack`` wrote it; OtherNetworkError where both this hash and that in the file
    are known, and differ."""
    try:
        table = _table(content)
        metadata = table.schema.metadata or {}
        columns = {name: _values(table[name]) for name in table.column_names}
        if metadata[SEAL] != _digest(columns, metadata):
            raise ValueError("checksum does not match")
        if network_hash and (other := metadata.get(NETWORK, b"").decode()) not in ("", network_hash):
            raise OtherNetworkError(f"of network {other}, and its trial trained {network_hash}")
        costs, counted = tuple(json.loads(metadata[COSTS])), json.loads(metadata.get(PRODUCT, b"{}"))
        return {
            split: _of_split(columns, costs, columns["split"] == split, counted.get(split))
            for split in dict.fromkeys(columns["split"])
        }
    except ValueError:
        raise
    except (pa.ArrowException, AttributeError, LookupError, MemoryError, OSError, TypeError) as error:
        raise ValueError(str(error)) from error


def _table(content: bytes) -> pa.Table:
    """Raises ValueError, or what Arrow raises, for what would need far more room than the file."""
    sealed_parquet.check(content)
    buffer = pa.BufferReader(content)
    metadata = pq.read_metadata(buffer)
    if metadata.num_rows and (size := unpacked_size(content, metadata)) > FEW_BYTES + GROWS * len(content):
        raise ValueError(f"its {len(content)} bytes would become {size}")
    # As in ``epochs_file``: no thread of Arrow's may live on.
    file = pq.ParquetFile(buffer, metadata=metadata, page_checksum_verification=True, read_dictionary=["split"])
    table = file.read(use_threads=False)
    table.validate(full=True)
    if not set(table["split"].unique().to_pylist()) <= {*SPLITS}:
        raise ValueError(f"its splits are not among {', '.join(SPLITS)}")
    return table


def _values(column: pa.ChunkedArray) -> Array:
    values: Array = column.to_numpy()
    return values


def _of_split(
    columns: Mapping[str, Array], costs: tuple[int, ...], chosen: Any, product_right: list[int] | None
) -> Outcomes:
    numbers = range(1, len(costs) + 1)
    kept = {
        field: np.stack([columns[f"{name}_{number}"][chosen] for number in numbers]) for name, field in OF_ONE.items()
    }
    return Outcomes(
        labels=columns["label"][chosen].astype(np.int64),
        costs=costs,
        **kept,
        product_right=None if product_right is None else tuple(product_right),
    )
