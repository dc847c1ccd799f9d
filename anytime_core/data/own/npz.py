"""An .npz file of arrays: train_images, train_labels, test_images, test_labels, and what else ENTRIES names.

Nothing in it is unpickled, and no array is read before its header has said how large it is.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anytime_core.data.dataset import Bytes
from anytime_core.data.own.source import MOST_BYTES, REQUIRED, SPLITS, Faults, Format, Found, Source, Split
from anytime_core.errors import DataError

ENTRIES = {f"{split}_{what}": split in REQUIRED for split in SPLITS for what in ("images", "labels")} | {
    "class_names": False
}
"""The arrays of a file, and whether it must have them."""
LAYOUTS = "uint8 [N,S,S], [N,S,S,C] or [N,C,S,S]"


def read(source: Source, faults: Faults) -> Found:
    """Images are bytes in one of LAYOUTS, labels whole numbers from 0, class names text in the order of the labels."""
    arrays = _arrays(source, faults)
    faults.refuse()
    splits = {split: found for split in SPLITS if (found := _split(split, arrays, faults))}
    faults.refuse()
    shapes = {split: found.images.shape[1:] for split, found in splits.items()}
    for split, shape in shapes.items():
        if shape != shapes["train"]:
            faults.add(
                f"{split}_images are {list(shape)} an image, as [C,S,S], and train_images {list(shapes['train'])}"
            )
    return Found(class_names=_class_names(arrays, splits), splits=splits)


def _arrays(source: Source, faults: Faults) -> dict[str, Any]:
    """Those that are sound by their headers."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            _refuse_names(names, faults)
            faults.refuse()
            headers = {name: _header(archive, name, faults) for name in names}
            if sum(header.bytes for header in headers.values() if header) > MOST_BYTES:
                raise DataError(
                    f"{source.name}: {source.path} holds more than {MOST_BYTES >> 30} GiB, which is allowed"
                )
            faults.refuse()
            return {name: _array(archive, name) for name in names}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise errors of many types for damaged files
        raise DataError(
            f"{source.name}: {source.path} is no sound .npz file ({type(error).__name__}: {error})"
        ) from error


def _refuse_names(names: list[str], faults: Faults) -> None:
    allowed = ", ".join(ENTRIES)
    for name in names:
        if name not in ENTRIES:
            faults.add(f"there is an array {name!r}; allowed: {allowed}")
    missing = [name for name, required in ENTRIES.items() if required and name not in names]
    half = {"validation_images", "validation_labels"} - set(names)
    for name in (*missing, *(half if len(half) == 1 else ())):
        faults.add(f"there is no array {name}")
    for name in {name for name in names if names.count(name) > 1}:
        faults.add(f"there are two arrays {name}")


@dataclass(frozen=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def _header(archive: zipfile.ZipFile, name: str, faults: Faults) -> _Header | None:
    """What an array says of itself, if it is of a kind that may be read."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            faults.add(f"{name} is of format {version}, must be 1.0 or 2.0")
            return None
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
        header = _Header(tuple(shape), dtype)
        data = archive.getinfo(f"{name}.npy").file_size - file.tell()
    if dtype.hasobject:
        faults.add(f"{name} holds Python objects, which are never unpickled; must be an array of numbers or text")
    elif header.bytes != data:
        faults.add(f"{name} has {data:,} bytes, must be {header.bytes:,} for {header}")
    elif (wanted := _wanted(name)) and not _is_wanted(name, header):
        faults.add(f"{name} is {header}, must be {wanted}")
    return header


def _wanted(name: str) -> str:
    return "text [K]" if name == "class_names" else LAYOUTS if name.endswith("images") else "whole numbers [N]"


def _is_wanted(name: str, header: _Header) -> bool:
    if name == "class_names":
        return header.dtype.kind == "U" and len(header.shape) == 1
    if name.endswith("labels"):
        return header.dtype.kind in "iu" and len(header.shape) == 1
    return header.dtype == np.uint8 and len(header.shape) in (3, 4)


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _split(split: str, arrays: dict[str, Any], faults: Faults) -> Split | None:
    if (images := arrays.get(f"{split}_images")) is None:
        return None
    labels = arrays[f"{split}_labels"]
    if len(images) != len(labels):
        faults.add(f"{split}_labels are {len(labels)}, and {split}_images {len(images)}; must be as many")
    try:
        pixels = _channels_first(images)
    except ValueError as error:
        faults.add(f"{split}_images are {error}")
        return None
    names = [f"{split}_images[{index}]" for index in range(len(images))]
    if labels.dtype == np.uint64 and len(labels) and labels.max() > np.iinfo(np.int64).max:
        faults.add(f"{split}_labels hold {labels.max()}, which no data set has as many classes for")
        return None
    return Split(images=pixels, labels=labels.astype(np.int64), names=names)


def _channels_first(images: Bytes) -> Bytes:
    """Raises ValueError where it cannot be told which of the dimensions are the sides."""
    last, first = images.shape[1] == images.shape[2], images.shape[-2] == images.shape[-1]
    if images.ndim == 3 and first:
        return images[:, None]
    if images.ndim == 4 and last and first:
        shape = list(images.shape)
        raise ValueError(f"{shape}, where channels may be first or last; must be a shape that says so, of {LAYOUTS}")
    if images.ndim == 3 or not (last or first):
        raise ValueError(f"{list(images.shape)}, which are no squares; must be {LAYOUTS}")
    return np.ascontiguousarray(images if first else images.transpose(0, 3, 1, 2))


def _class_names(arrays: dict[str, Any], splits: dict[str, Split]) -> tuple[str, ...]:
    """The numbers themselves where the classes have no names."""
    if "class_names" in arrays:
        return tuple(map(str, arrays["class_names"]))
    labels = splits["train"].labels
    count = int(min(labels.max(initial=-1), len(labels))) + 1
    return tuple(map(str, range(count)))


def files(path: Path) -> Iterator[str]:
    yield str(path)


def looks_alike(path: Path) -> bool:
    return path.suffix == ".npz"


FORMAT = Format(read=read, files=files, looks_alike=looks_alike, resizes=False)
