"""The formats that data of one's own may have: to add one, a ``Format`` and a line in FORMATS."""

from __future__ import annotations

from pathlib import Path

from anytime_core.data.own import image_folder, npz, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import Format, Source
from anytime_core.errors import DataError
from orchestrator.owndata import parquet

FORMATS: dict[str, Format] = {
    "image_folder": image_folder.FORMAT,
    "npz": npz.FORMAT,
    "parquet": parquet.FORMAT,
}


def load(source: Source) -> OwnImages:
    """The data set, read once and mapped from a cache after that. Raises DataError with every fault in it."""
    return reading.load(source, FORMATS[source.format])


def opened(source: Source) -> OwnImages | None:
    """The data set, if nothing has changed since it was read. Raises DataError where it is not there."""
    return reading.opened(source, FORMATS[source.format])


def source_at(path: Path, size: int | None = None) -> Source:
    """A source of the format that a path seems to have. Raises DataError."""
    for name, form in FORMATS.items():
        if path.exists() and form.looks_alike(path):
            return Source(name=path.stem, path=path, format=name, size=size)
    raise DataError(
        f"{path} is no data set: must be a folder with train/CLASS/*.png, one with train*.parquet, or an .npz file"
    )
