"""The sources that trials were trained with, as far as they were asked to be kept: once for all trials of one code."""

from __future__ import annotations

import re

from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import reason, storage_at
from orchestrator.system.snapshot import MOST, Snapshot

FOLDER = "code"
"""Below the storage."""
NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{6}")


def place(name: str) -> str:
    return f"{FOLDER}/{name}.zip"


def keep(snapshot: Snapshot, ledger: Ledger) -> None:
    """Raises StorageError."""
    storage = storage_at(ledger.storage)
    try:
        if not storage.exists(place(snapshot.name)):
            storage.write(place(snapshot.name), snapshot.content)
    except OSError as error:
        where = storage.address(place(snapshot.name))
        raise StorageError(f"{where}: cannot be written: {reason(error)}") from error


def read(name: str, ledger: Ledger) -> bytes:
    """Raises UsageError where the storage has none of that name, StorageError where it cannot be read."""
    storage = storage_at(ledger.storage)
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r:.80} is no name of a snapshot")
    where = storage.address(place(name))
    try:
        return storage.read(place(name), MOST)
    except FileNotFoundError as error:
        raise UsageError(f"{where}: is not there; neither a bundle nor an import takes it along") from error
    except OSError as error:
        raise StorageError(f"{where}: cannot be read: {reason(error)}") from error
