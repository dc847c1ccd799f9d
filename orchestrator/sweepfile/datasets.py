"""The data sets of a sweep file that are the user's own: found and read, or refused with the line of what is wrong.

An entry with a path becomes what a trial holds of it, before the schema reads the rest. So the schema, and all that
comes after it, knows no paths.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from anytime_core.config import KINDS, OwnData, Part, plain
from anytime_core.data.catalog import DATASETS
from anytime_core.data.own.reading import LARGEST
from anytime_core.data.own.source import Source
from anytime_core.errors import DataError
from orchestrator.extensions import importing
from orchestrator.owndata import formats
from orchestrator.sweepfile.document import Document, Fault, given, suggestion
from orchestrator.sweepfile.faults import part_in
from orchestrator.sweepfile.fields import DATA_KEYS, HIDDEN, OWN_KEYS
from orchestrator.text import expanded_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
STAND_IN = OwnData(content="?", class_names=("?", "??"), channels=1, size=1 << 30, train_images=1 << 60, test_images=1)
"""For data that have a fault, so that the rest of their entry is checked all the same. No network of an extension's
runs on it."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A document without paths of data. Those of its ``faults`` that are ``gone`` say of data that they are not there.
    ``notes`` are for the user."""

    document: Document
    sources: dict[str, Source] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    gone: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def resolved(document: Document) -> Resolved:
    """Reads what the data sets with a path hold, from a cache where nothing has changed."""
    content = document.content
    if not isinstance(content, dict) or not isinstance(entries := content.get("datasets"), list):
        return Resolved(document)
    found = Resolved(Document(document.path, {**content, "datasets": list(entries)}, document.lines))
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and not entry.keys().isdisjoint((*OWN_KEYS, *HIDDEN)):
            found.document.content["datasets"][index] = _entry(found, index, entry)
    return found


def _entry(found: Resolved, index: int, entry: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in entry.items() if key in DATA_KEYS and key not in OWN_KEYS}
    found.faults.extend(_strangers(found.document, index, entry))
    reader, wrong = _reader(found.document, index, entry)
    faults = [*_faults(found.document, index, entry), *wrong]
    own = None
    if not faults and isinstance(entry.get("name"), str):
        source = _source(found.document.path, entry, reader)
        found.sources[source.name] = source
        try:
            own = _described(found, source)
        except DataError as error:
            fault = found.document.fault(("datasets", index, "path"), f"{importing.located(error)}{error}")
            faults.append(fault)
            found.gone.extend([] if os.path.exists(source.path) else [fault])
    found.faults.extend(faults)
    if own is None and rest.get("validation") == "own":
        del rest["validation"]
    return {**rest, "own": own or STAND_IN}


def _faults(document: Document, index: int, entry: dict[str, Any]) -> Iterator[Fault]:
    """What is wrong with an entry before its data are looked at."""
    for key in HIDDEN:
        if key in entry:
            yield document.fault(("datasets", index, key), f"unknown key; allowed: {', '.join(DATA_KEYS)}")
    if fault := _name_fault(entry):
        yield document.fault(("datasets", index, "name"), fault)
    if entry.get("name") in list(DATASETS):
        return
    for key, (allowed, is_sound) in _ALLOWED.items():
        words = allowed.format(forms=", ".join(_forms()))
        if key not in entry and key != "size":
            yield document.fault(("datasets", index, key), f"is missing; must be {words}")
        elif key in entry and not is_sound(entry[key]):
            yield document.fault(("datasets", index, key), f"given {given(entry[key])}; must be {words}")
    form = str(entry.get("format"))
    resizes = form in formats.FORMATS and formats.FORMATS[form].resizes
    if "size" in entry and form in _forms() and not resizes:
        words = f"given {given(entry['size'])}; is for pictures, and {form} holds arrays: leave it out"
        yield document.fault(("datasets", index, "size"), words)


def _name_fault(entry: dict[str, Any]) -> str:
    """The schema says where a name is missing or no text."""
    name = entry.get("name")
    if not isinstance(name, str):
        return ""
    if name in DATASETS:
        return f"{name} is a data set of ours, which has no {', '.join(OWN_KEYS)}; give yours another name"
    allowed = "at most 64 letters, digits, '.', '_' and '-', a letter or digit first"
    return "" if NAME.fullmatch(name) else f"given {given(name)}; must be {allowed}"


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_format(value: Any) -> bool:
    return isinstance(value, str) and value in _forms()


def _forms() -> list[str]:
    """Ours, and those that active extensions read."""
    return [*formats.FORMATS, *KINDS["reader"]]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "path": ("a file or folder, from the folder of this file on", _is_path),
    "format": ("one of {forms}", _is_format),
    "size": (f"a whole number of pixels from 1 to {LARGEST}", _is_size),
}
"""By key: what it must be, in words and as a test."""


def _strangers(document: Document, index: int, entry: dict[str, Any]) -> Iterator[Fault]:
    """Unknown keys; with an unknown format it is not known what its reader would know."""
    allowed = [*DATA_KEYS, *_reader_fields(entry)]
    for key in entry if _is_format(entry.get("format")) else ():
        if key not in (*allowed, *HIDDEN):
            yield document.fault(("datasets", index, key), f"unknown key{suggestion(str(key), allowed)}")


def _reader_fields(entry: dict[str, Any]) -> list[str]:
    """The keys that an extension's reader adds to an entry of its format."""
    form = entry.get("format")
    reader = KINDS["reader"].get(form) if isinstance(form, str) else None
    return [field.name for field in fields(reader)] if reader else []  # type: ignore[arg-type]


def _reader(document: Document, index: int, entry: dict[str, Any]) -> tuple[Part | None, list[Fault]]:
    """What reads a format of an extension's, and the faults of its fields. There is none for a format of ours."""
    form = entry.get("format")
    if not isinstance(form, str) or (reader := KINDS["reader"].get(form)) is None:
        return None, []
    values = {key: entry[key] for key in _reader_fields(entry) if key in entry}
    return part_in(document, ("datasets", index), reader, values)


def _source(sweep_file: Path, entry: dict[str, Any], reader: Part | None) -> Source:
    path = os.path.abspath(sweep_file.parent / expanded_path(entry["path"]))
    return Source(
        name=entry["name"],
        path=Path(path),
        format=entry["format"],
        size=entry.get("size"),
        reader=json.dumps(plain(reader), sort_keys=True) if reader else "",
    )


def _described(found: Resolved, source: Source) -> OwnData:
    """What a trial holds of the data: where they are gone, as they were when they were last read here."""
    if not os.path.exists(source.path) and (known := formats.remembered(source)):
        found.notes.append(f"{source.name}: {source.path} is not there; its trials are those of the data last read")
        return known
    own = formats.load(source).described
    formats.remember(source, own)
    return own
