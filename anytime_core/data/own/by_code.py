"""A format that an extension reads: see ``anytime_core.extend.Reader``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anytime_core.config import part_of
from anytime_core.data.own.arrays import ENTRIES, found_in, kind_fault, refuse_names
from anytime_core.data.own.source import MOST_BYTES, Faults, Format, Found, Source
from anytime_core.errors import DataError
from anytime_core.extend import Reader


def form_of(source: Source) -> Format:
    """Raises DataError where the extension is not here."""
    reader = part_of("reader", json.loads(source.reader))
    if not isinstance(reader, Reader):
        raise DataError(f"{source.name}: {reader} is not here, or has changed; nothing can be read with it")
    return Format(
        read=partial(_read, reader),
        files=partial(_files, reader, source),
        looks_alike=lambda path: False,
        resizes=False,
    )


def _read(reader: Reader, source: Source, faults: Faults) -> Found:
    with _called(reader, source):
        given = dict(reader.read(source.path))
    refuse_names(list(given), faults)
    arrays = {name: _array(reader, source, name, value) for name, value in given.items() if name in ENTRIES}
    for name, array in arrays.items():
        if fault := kind_fault(name, array.shape, array.dtype):
            faults.add(fault)
    faults.refuse()
    _refuse_size(reader, source, arrays)
    return found_in(arrays, faults)


def _array(reader: Reader, source: Source, name: str, value: Any) -> Any:
    """Also of lists and tensors."""
    with _called(reader, source, f"{name} can be no array: "):
        return np.asarray(value)


def _refuse_size(reader: Reader, source: Source, arrays: Mapping[str, Any]) -> None:
    if sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
        raise _refused(reader, source, f"gives more than {MOST_BYTES >> 30} GiB, which is allowed")


def _files(reader: Reader, source: Source, root: Path) -> Iterator[str]:
    """A link that leads nowhere is there itself."""
    with _called(reader, source, "files: "):
        given: object = reader.files(root)
        named = [] if isinstance(given, str | bytes) else list(given)  # type: ignore[call-overload]
    if isinstance(given, str | bytes):
        raise _refused(reader, source, f"files gives {given!r}, must give a list of paths")
    if not named:
        raise _refused(reader, source, "files names nothing, must name what decides what is read")
    folder = root if root.is_dir() else root.parent
    for one in named:
        path = os.fspath(one) if isinstance(one, str | os.PathLike) else None
        if not isinstance(path, str):
            raise _refused(reader, source, f"files names {one!r}, must name paths")
        path = os.path.join(folder, path)
        if "\0" in path or not os.path.lexists(path):
            raise _refused(reader, source, f"files names {path}, which is not there")
        yield path


@contextmanager
def _called(reader: Reader, source: Source, what: str = "") -> Iterator[None]:
    """While code of an extension runs: what it prints is no output of the command's, and what it raises is one line."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:  # an extension may raise anything
        raise _refused(reader, source, f"{what}{_said(error)}") from error


def _refused(reader: Reader, source: Source, fault: str) -> DataError:
    return DataError(f"{source.name}: {source.path}: reader {reader.name}: {fault}")


def _said(error: BaseException) -> str:
    """A ValueError's text is for the user."""
    kind, text = type(error).__name__, str(error).strip().partition("\n")[0]
    if not text:
        return kind
    return text if isinstance(error, ValueError) else f"{kind}: {text}"
