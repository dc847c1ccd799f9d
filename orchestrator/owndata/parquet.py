"""Parquet files as Hugging Face's hub has them: train*.parquet, test*.parquet and, if there are some, validation*.

A row is a picture, as bytes or as a struct with a field ``bytes``, and the number of its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytime_core.data.own.gallery import Gallery
from anytime_core.data.own.source import LEADS_OUT, MOST_BYTES, REQUIRED, Faults, Format, Found, Source, leads_out
from anytime_core.errors import DataError

PREFIXES = {"train": "train", "test": "test", "val": "validation"}
"""The split of a file by how its name begins."""
IMAGES, LABELS = ("image", "img"), ("label",)
"""What the columns may be called."""
ROWS = 256
"""That are read at once."""


def read(source: Source, faults: Faults) -> Found:
    """Class names are those of the files' metadata, or else the numbers themselves."""
    shards = [shard for path in sorted(files(source.path)) if (shard := _shard(source, Path(path), faults))]
    for split in REQUIRED:
        if not any(shard.split == split for shard in shards):
            faults.add(f"there is no usable file {split}*.parquet")
    if len({shard.class_names for shard in shards}) > 1:
        faults.add("files differ in the class names of their metadata; must be of one data set")
    if sum(shard.bytes for shard in shards) > MOST_BYTES:
        raise DataError(f"{source.name}: {source.path} holds more than {MOST_BYTES >> 30} GiB, which is allowed")
    faults.refuse()
    gallery = Gallery(source, faults)
    for shard in shards:
        for name, picture, label in _rows(shard, faults):
            gallery.add(shard.split, name, picture, label)
    splits = gallery.splits()
    highest = max((int(split.labels.max(initial=-1)) for split in splits.values()), default=-1)
    count = min(highest, sum(len(split.labels) for split in splits.values())) + 1
    named = shards[0].class_names or tuple(map(str, range(count)))
    return Found(class_names=named, splits=splits, notes=gallery.notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shard:
    """A file with the columns that are needed. ``class_names`` is empty where it does not say."""

    path: Path
    split: str
    image: str
    label: str
    class_names: tuple[str, ...]
    bytes: int


def _shard(source: Source, path: Path, faults: Faults) -> _Shard | None:
    import pyarrow.parquet as pq

    if leads_out(path, source.path):
        faults.add(f"{path.name} {LEADS_OUT}")
        return None
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    except Exception as error:  # pyarrow raises errors of many types for damaged files
        faults.add(f"{path.name} is no sound parquet file ({_first_line(error)})")
        return None
    image, label = (_column(schema, names) for names in (IMAGES, LABELS))
    if image is None or label is None:
        faults.add(f"{path.name} has the columns {', '.join(schema.names)}; must have image, or img, and label")
        return None
    if fault := _type_fault(schema, image, label):
        faults.add(f"{path.name}: {fault}")
        return None
    split = next(split for prefix, split in PREFIXES.items() if path.name.startswith(prefix))
    names = _class_names(schema.metadata or {}, label)
    return _Shard(path=path, split=split, image=image, label=label, class_names=names, bytes=size)


def _column(schema: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _type_fault(schema: Any, image: str, label: str) -> str | None:
    import pyarrow.types as kinds

    pictures, numbers = schema.field(image).type, schema.field(label).type
    if kinds.is_struct(pictures):
        held = [field for field in pictures if field.name == "bytes"]
        pictures = held[0].type if held else pictures
    if not (kinds.is_binary(pictures) or kinds.is_large_binary(pictures)):
        return f"column {image} is {pictures}, must be binary, or a struct with binary `bytes`"
    return None if kinds.is_integer(numbers) else f"column {label} is {numbers}, must be whole numbers"


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...]:
    """As the hub's own library writes them beside a table. What is written otherwise names no classes."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(names) if all(isinstance(name, str) for name in names) else ()
    except (KeyError, TypeError, ValueError):
        return ()


def _rows(shard: _Shard, faults: Faults) -> Iterator[tuple[str, bytes, int]]:
    """The name, the picture and the label of each row that has both."""
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(shard.path) as file:
            for batch in file.iter_batches(ROWS, columns=[shard.image, shard.label]):
                cells = (batch.column(name).to_pylist() for name in (shard.image, shard.label))
                for picture, label in zip(*cells, strict=True):
                    content = picture.get("bytes") if isinstance(picture, dict) else picture
                    name = f"{shard.path.name} row {row}"
                    row += 1
                    if content is None or label is None:
                        faults.add(f"{name} has no {'label' if content else 'bytes of a picture'}")
                    else:
                        yield name, content, label
    except DataError:
        raise
    except Exception as error:  # pyarrow's, of a damaged file
        faults.add(f"{shard.path.name} cannot be read past row {row} ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def files(path: Path) -> Iterator[str]:
    for prefix in PREFIXES:
        yield from map(str, path.glob(f"{prefix}*.parquet"))


def looks_alike(path: Path) -> bool:
    return path.is_dir() and any(files(path))


FORMAT = Format(read=read, files=files, looks_alike=looks_alike, resizes=True)
