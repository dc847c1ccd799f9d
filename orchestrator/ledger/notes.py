"""What people write down about a sweep or a trial: a small file for each note, in the storage that they share.

::

    STORAGE/notes/sweeps/NAME/TIME-ID.json
                  trials/ID/TIME-ID.json

Whoever shares the storage may write there, so a note is text of bounded length, and there are so many and no more.
Notes are never changed, and are named by what they hold: nobody's overwrites another's, in a bucket either, and those
of two storages together are the notes of both.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from anytime_core.documents import known, typed
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger import checksummed
from orchestrator.ledger.ledger import Ledger, now
from orchestrator.ledger.storage import Storage, described, reading, storage_at, writing
from orchestrator.redaction import redacted
from orchestrator.sweep.grid import Sweep
from orchestrator.text import visible

log = logging.getLogger(__name__)

LONGEST, LONGEST_NAME = 2000, 80
"""Characters of a note, and of who wrote it."""
MOST_BYTES = 1 << 15
MOST_NOTES = 100
"""Of one sweep or trial."""
FILE = re.compile(r"(\d{8}T\d{6})-([0-9a-f]{8})\.json")

Of = Literal["sweeps", "trials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """``id`` names it among those of the storage, ``of`` is the name of a sweep or the id of a trial; ``who`` is empty
    where that is not known."""

    id: str
    kind: Of
    of: str
    time: str
    text: str
    who: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """As a file has it."""

    time: str
    text: str
    who: str = ""


def add(ledger: Ledger, kind: Of, of: str, text: str, who: str = "") -> Note:
    """Raises UsageError for a text that is none or too long, and where there are too many; StorageError."""
    text = redacted(text.strip())
    if not text or len(text) > LONGEST:
        raise UsageError(f"a note of {len(text)} characters: allowed are 1 to {LONGEST}")
    if len(read(ledger, kind, [of]).get(of, ())) >= MOST_NOTES:
        raise UsageError(f"{of} has {MOST_NOTES} notes already; `orchestrate note --remove ID` removes one")
    content = _Content(time=now(), text=text, who=who[:LONGEST_NAME])
    packed, storage = checksummed.pack(asdict(content)), storage_at(ledger.storage)
    name = _named(f"{datetime.fromisoformat(content.time):%Y%m%dT%H%M%S}", packed)
    path = f"notes/{kind}/{of}/{name}"
    with writing(storage, path):
        storage.write(path, packed)
    return Note(id=_id_in(name), kind=kind, of=of, **asdict(content))


def _named(moment: str, packed: bytes) -> str:
    """The file of a note: when it was written, and what it holds."""
    return f"{moment}-{hashlib.sha256(packed).hexdigest()[:8]}.json"


def _id_in(name: str) -> str:
    return name[-13:-5]


def read(ledger: Ledger, kind: Of, names: Iterable[str]) -> dict[str, list[Note]]:
    """The notes of these sweeps or trials, oldest first, by what they are of; damaged ones the log names. Raises
    StorageError."""
    storage = storage_at(ledger.storage)
    with reading(storage, "notes"):
        noted = set(storage.names(f"notes/{kind}"))
        found = {of: _of(ledger, kind, of) for of in dict.fromkeys(names) if of in noted}
    return {of: notes for of, notes in found.items() if notes}


def seen(ledger: Ledger, kind: Of, names: Iterable[str]) -> dict[str, list[Note]]:
    """The same for who shows them beside results: where notes cannot be read there are none, and the log says why."""
    try:
        return read(ledger, kind, names)
    except StorageError as error:
        log.warning("notes are left out: %s", error)
        return {}


def _of(ledger: Ledger, kind: Of, of: str) -> list[Note]:
    names = _names(storage_at(ledger.storage), f"notes/{kind}/{of}")
    return [note for name in names if (note := _note(ledger, kind, of, name))]


def _names(storage: Storage, folder: str) -> list[str]:
    """The files of the notes on one sweep or trial, oldest first, so many as are read."""
    names = sorted(name for name in storage.names(folder) if FILE.fullmatch(name))
    if len(names) > MOST_NOTES:
        log.warning("%s: of %d notes the %d newest are read", storage.address(folder), len(names), MOST_NOTES)
    return names[-MOST_NOTES:]


def files(storage: Storage, kind: Of, names: Iterable[str]) -> dict[str, bytes]:
    """The notes of these sweeps or trials as they were written, by their paths; damaged ones the log names. Raises
    StorageError."""
    with reading(storage, "notes"):
        noted = set(storage.names(f"notes/{kind}"))
        folders = [f"notes/{kind}/{of}" for of in dict.fromkeys(names) if of in noted]
        paths = [f"{folder}/{name}" for folder in folders for name in _names(storage, folder)]
        return {path: packed for path in paths if (packed := _packed(storage, path)) is not None}


def bring(notes: Mapping[str, bytes], ledger: Ledger) -> int:
    """Adds notes of another storage, by their paths, to those here, of which none is changed. Returns how many were not
    here; where there are too many of one sweep or trial, the log says which were left. Raises StorageError."""
    target, brought = storage_at(ledger.storage), 0
    for path, packed in notes.items():
        folder, _, name = path.rpartition("/")
        with reading(target, folder):
            there = {_id_in(own): own for own in target.names(folder) if FILE.fullmatch(own)}
        if there.get(_id_in(name)) == name and _packed(target, path) != packed:
            name = _named(name.partition("-")[0], packed)  # another note has its name
        if name in there.values():
            continue
        if len(there) >= MOST_NOTES:
            log.warning("%s: has %d notes already; %s is left", target.address(folder), MOST_NOTES, name)
            continue
        with writing(target, folder):
            target.write(f"{folder}/{name}", packed)
        brought += 1
    return brought


def _note(ledger: Ledger, kind: Of, of: str, name: str) -> Note | None:
    packed = _packed(storage_at(ledger.storage), f"notes/{kind}/{of}/{name}")
    if packed is None:
        return None
    content = _unpacked(packed)
    text, who = (_bounded(value, most) for value, most in ((content.text, LONGEST), (content.who, LONGEST_NAME)))
    return Note(id=_id_in(name), kind=kind, of=of, time=_bounded(content.time, 32), text=text, who=who)


def _packed(storage: Storage, path: str) -> bytes | None:
    """A note as it was written; None of one that is damaged, which the log says, or was removed just now."""
    try:
        packed = storage.read(path, MOST_BYTES)
        _unpacked(packed)
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged: %s", storage.address(path), described(error))
        return None
    return packed


def _unpacked(packed: bytes) -> _Content:
    return typed(_Content, known(_Content, checksummed.unpack(packed)))


def _bounded(text: str, most: int) -> str:
    """As another may have written it."""
    return visible(redacted(text[:most]))


def remove(ledger: Ledger, note: Note) -> None:
    """Raises StorageError."""
    storage, folder = storage_at(ledger.storage), f"notes/{note.kind}/{note.of}"
    with writing(storage, folder):
        for name in storage.names(folder):
            if FILE.fullmatch(name) and _id_in(name) == note.id:
                storage.delete(f"{folder}/{name}")


def mark(notes: Iterable[Note]) -> str:
    """What tells some notes from others: one never changes."""
    return " ".join(note.id for note in notes)


def of_sweep(sweep: Sweep, ledger: Ledger) -> list[Note]:
    """Those of a sweep and of its trials, oldest first. Raises StorageError."""
    return _sorted(read(ledger, "sweeps", [sweep.name]) | read(ledger, "trials", sweep.ids))


def seen_of_sweep(sweep: Sweep, ledger: Ledger) -> list[Note]:
    """The same as far as it can be read, as of ``seen``."""
    return _sorted(seen(ledger, "sweeps", [sweep.name]) | seen(ledger, "trials", sweep.ids))


def _sorted(found: Mapping[str, Sequence[Note]]) -> list[Note]:
    return sorted((note for notes in found.values() for note in notes), key=lambda note: (note.time, note.id))
