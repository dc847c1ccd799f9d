"""A format that an extension reads: see ``anytime_core.extend.Reader``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from anytime_core.config import part_of
from anytime_core.data.own.arrays import ENTRIES, found_in, kind_fault, refuse_names
from anytime_core.data.own.source import Faults, Format, Found, Source
from anytime_core.errors import DataError
from anytime_core.extend import Reader


def form_of(source: Source) -> Format:
    """Raises DataError where the extension is not here."""
    reader = part_of("reader", json.loads(source.reader))
    if not isinstance(reader, Reader):
        raise DataError(f"{source.name}: {reader} is not here, or has changed; nothing can be read with it")
    return Format(
        read=partial(_read, reader), files=partial(_files, reader), looks_alike=lambda path: False, resizes=False
    )


def _read(reader: Reader, source: Source, faults: Faults) -> Found:
    try:
        given = dict(reader.read(source.path))
    except Exception as error:  # an extension may raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise DataError(f"{source.name}: {source.path}: reader {reader.name}: {kind}{error}") from error
    refuse_names(list(given), faults)
    arrays = {name: np.asarray(array) for name, array in given.items() if name in ENTRIES}
    for name, array in arrays.items():
        if fault := kind_fault(name, array.shape, array.dtype):
            faults.add(fault)
    faults.refuse()
    return found_in(arrays, faults)


def _files(reader: Reader, path: Path) -> Iterator[str]:
    try:
        yield from map(str, reader.files(path))
    except OSError:
        raise
    except Exception as error:  # an extension may raise anything
        raise DataError(f"{path}: reader {reader.name}: files raises {type(error).__name__}: {error}") from error
