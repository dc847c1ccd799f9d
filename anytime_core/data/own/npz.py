"""An .npz file of arrays: train_images, train_labels, test_images, test_labels, and what else ``arrays.ENTRIES`` names.

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

from anytime_core.data.own.arrays import found_in, kind_fault, refuse_names
from anytime_core.data.own.source import MOST_BYTES, Faults, Format, Found, Source
from anytime_core.errors import DataError


def read(source: Source, faults: Faults) -> Found:
    """Images are bytes in one of ``arrays.LAYOUTS``, labels whole numbers from 0, class names text in the order of the
    labels."""
    arrays = _arrays(source, faults)
    faults.refuse()
    return found_in(arrays, faults)


def _arrays(source: Source, faults: Faults) -> dict[str, Any]:
    """Those that are sound by their headers."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            refuse_names(names, faults)
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
    elif fault := kind_fault(name, shape, dtype):
        faults.add(fault)
    return header


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def files(path: Path) -> Iterator[str]:
    yield str(path)


def looks_alike(path: Path) -> bool:
    return path.suffix == ".npz"


FORMAT = Format(read=read, files=files, looks_alike=looks_alike, resizes=False)
