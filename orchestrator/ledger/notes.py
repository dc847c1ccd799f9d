"""What people write down about a sweep or a trial: a small file for each note, in the storage that they share.

::

    STORAGE/notes/sweeps/NAME/TIME-ID.json
                  trials/ID/TIME-ID.json

Whoever shares the storage may write there, so a note is text of bounded length, and there are so many and no more.
Notes are never changed, and each has a name of its own: nobody's overwrites another's, in a bucket either.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from anytime_core.documents import known, typed
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger import checksummed
from orchestrator.ledger.ledger import Ledger, now
from orchestrator.ledger.storage import described, reason, storage_at
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
    name = uuid4().hex[:8]
    storage = storage_at(ledger.storage)
    path = f"notes/{kind}/{of}/{datetime.fromisoformat(content.time):%Y%m%dT%H%M%S}-{name}.json"
    try:
        storage.write(path, checksummed.pack(asdict(content)))
    except OSError as error:
        raise StorageError(f"{storage.address(path)}: cannot be written: {reason(error)}") from error
    return Note(id=name, kind=kind, of=of, **asdict(content))


def read(ledger: Ledger, kind: Of, names: Iterable[str]) -> dict[str, list[Note]]:
    """The notes of these sweeps or trials, oldest first, by what they are of; damaged ones the log names. Raises
    StorageError."""
    storage = storage_at(ledger.storage)
    try:
        noted = set(storage.names(f"notes/{kind}"))
        found = {of: _of(ledger, kind, of) for of in dict.fromkeys(names) if of in noted}
    except OSError as error:
        raise StorageError(f"{storage.address('notes')}: cannot be read: {reason(error)}") from error
    return {of: notes for of, notes in found.items() if notes}


def _of(ledger: Ledger, kind: Of, of: str) -> list[Note]:
    storage, folder = storage_at(ledger.storage), f"notes/{kind}/{of}"
    names = sorted(name for name in storage.names(folder) if FILE.fullmatch(name))
    if len(names) > MOST_NOTES:
        log.warning("%s: of %d notes the %d newest are read", storage.address(folder), len(names), MOST_NOTES)
    return [note for name in names[-MOST_NOTES:] if (note := _note(ledger, kind, of, name))]


def _note(ledger: Ledger, kind: Of, of: str, name: str) -> Note | None:
    storage, path = storage_at(ledger.storage), f"notes/{kind}/{of}/{name}"
    try:
        content = typed(_Content, known(_Content, checksummed.unpack(storage.read(path, MOST_BYTES))))
    except FileNotFoundError:  # removed just now
        return None
    except ValueError as error:
        log.warning("%s is damaged: %s", storage.address(path), described(error))
        return None
    text, who = (_bounded(value, most) for value, most in ((content.text, LONGEST), (content.who, LONGEST_NAME)))
    return Note(id=name[-13:-5], kind=kind, of=of, time=_bounded(content.time, 32), text=text, who=who)


def _bounded(text: str, most: int) -> str:
    """As another may have written it."""
    return visible(redacted(text[:most]))


def remove(ledger: Ledger, note: Note) -> None:
    """Raises StorageError."""
    storage, folder = storage_at(ledger.storage), f"notes/{note.kind}/{note.of}"
    try:
        for name in storage.names(folder):
            if FILE.fullmatch(name) and name[-13:-5] == note.id:
                storage.delete(f"{folder}/{name}")
    except OSError as error:
        raise StorageError(f"{storage.address(folder)}: cannot be written: {reason(error)}") from error


def mark(notes: Iterable[Note]) -> str:
    """What tells some notes from others: one never changes."""
    return " ".join(note.id for note in notes)


def of_sweep(sweep: Sweep, ledger: Ledger) -> list[Note]:
    """Those of a sweep and of its trials, oldest first. Raises StorageError."""
    found = [*read(ledger, "sweeps", [sweep.name]).values(), *read(ledger, "trials", sweep.ids).values()]
    return sorted((note for notes in found for note in notes), key=lambda note: (note.time, note.id))
