"""The formats that data of one's own may have: to add one, a name in ``config.FORMATS``, a ``Format`` and a line in
FORMATS."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from anytime_core.config import FORMATS as NAMES
from anytime_core.config import SOURCE, DataConfig, OwnData, plain, refuse_gaps
from anytime_core.data import cache
from anytime_core.data.dataset import Images
from anytime_core.data.own import by_code, image_folder, npz, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import Format, Source
from anytime_core.errors import DataError
from anytime_core.files import user_cache, write_atomically
from orchestrator.owndata import parquet

FORMATS: dict[str, Format] = {
    "image_folder": image_folder.FORMAT,
    "npz": npz.FORMAT,
    "parquet": parquet.FORMAT,
}
refuse_gaps("formats.FORMATS", FORMATS, NAMES)
refuse_gaps("config.FORMATS", NAMES, FORMATS)


def load(source: Source) -> OwnImages:
    """The data set, read once and mapped from a cache after that. Raises DataError with every fault in it."""
    return reading.load(source, _form(source))


def opened(source: Source) -> OwnImages | None:
    """The data set, if nothing has changed since it was read. Raises DataError where it is not there."""
    return reading.opened(source, _form(source))


def _form(source: Source) -> Format:
    return by_code.form_of(source) if source.reader else FORMATS[source.format]


def images_of(data: DataConfig, sources: Mapping[str, Source], root: Path, *, check_md5: bool = True) -> Images:
    """The images of a trial, its own from one of ``sources``, the catalog's from below ``root``.

    Raises DataError for what cannot be read, and for data of the user's own that are not those of the trial.
    """
    if data.own is None:
        return cache.load(data.name, root, check_md5=check_md5)
    if data.name not in sources:
        raise DataError(f"{data.name} is a data set of the user's own, and nothing says where it lies")
    source = sources[data.name]
    found = load(source)
    if fault := other_content(source, found, data.own.content):
        raise DataError(fault)
    return found.images


def other_content(source: Source, found: OwnImages, content: str) -> str:
    """Says where data are not those of a trial; else is empty. Machines differ where they read pictures differently."""
    here = found.described.content
    if here == content:
        return ""
    return f"{source.name}: the content of {source.path} is {here} here, and that of the trial is {content}"


def remember(source: Source, own: OwnData) -> None:
    """Notes what was read, so that results can still be found when the data are gone. A convenience: no fault if it
    cannot be written."""
    if (file := _memory(source)) and remembered(source) != own:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(plain(own)).encode())


def remembered(source: Source) -> OwnData | None:
    """What was read of a source last, by this user on this machine; None if nothing is known."""
    try:
        file = _memory(source)
        return OwnData(**json.loads(file.read_bytes())) if file else None
    except (OSError, TypeError, ValueError):
        return None


def _memory(source: Source) -> Path | None:
    identity = [str(source.path), source.format, source.size, *_fields(source)]
    mark = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = user_cache()
    return folder / "own" / f"{mark}.json" if folder else None


def _fields(source: Source) -> list[str]:
    """Of a reader its name and fields: what it read is known once its code has changed, too."""
    values = json.loads(source.reader) if source.reader else {}
    return [json.dumps({name: value for name, value in values.items() if name != SOURCE})] if values else []


def source_at(path: Path, size: int | None = None) -> Source:
    """A source of the format that a path seems to have. Raises DataError."""
    for name, form in FORMATS.items():
        if path.exists() and form.looks_alike(path):
            if size and not form.resizes:
                raise DataError(f"{path} holds arrays, which have no size to choose")
            return Source(name=path.stem, path=path, format=name, size=size)
    raise DataError(
        f"{path} is no data set: must be a folder with train/CLASS/*.png, one with train*.parquet, or an .npz file"
    )
