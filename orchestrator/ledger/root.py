"""What every part of a ledger is made of: a storage, and files in it that say whether they are as they were written."""

from __future__ import annotations

import hashlib
import logging
from typing import Any
from uuid import uuid4

from anytime_core.documents import PARTS
from anytime_core.files import MOST
from orchestrator.errors import StorageError
from orchestrator.ledger import checksummed
from orchestrator.ledger.storage import Location, described, reading, reason, storage_at

log = logging.getLogger(__name__)

ID_FILE, LONGEST_ID = "id", 64


class Root:
    """One storage folder, which workers on all nodes must see at the same path, or one bucket.

    ``storage`` is where that is, ``local`` a folder of this machine for what must be files here: the storage itself
    where that is a folder. Raises UsageError for storage that cannot be.
    """

    def __init__(self, storage: Location) -> None:
        self._files = storage_at(storage)
        self.storage = self._files.location
        self.local = self._files.local

    def make(self) -> None:
        """Makes the storage ready. Raises StorageError if it cannot be written."""
        try:
            self._files.make("trials", "sweeps")
            if not self._files.exists(ID_FILE):
                self._files.write(ID_FILE, uuid4().hex.encode())
            self.local.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.storage}: storage cannot be written: {reason(error)}") from error

    def exists(self) -> bool:
        return self._files.exists()

    @property
    def id(self) -> str:
        """Tells this ledger from all others, wherever it is moved to; empty before ``make``."""
        try:
            text = self._files.read(ID_FILE).decode("ascii")
        except (OSError, ValueError):
            return ""
        return text if len(text) <= LONGEST_ID and text.isalnum() else ""

    @property
    def copy(self) -> str:
        """Tells this storage from its copies, which have the same id: the same wherever it is moved to on its disk, and
        another on another disk, or where it is restored. Empty before ``make``."""
        stamp = self._files.stamps([ID_FILE]).get(ID_FILE)
        return hashlib.sha256(f"{self.id} {stamp}".encode()).hexdigest()[:16] if stamp else ""

    def _content(self, name: str, most: int = MOST, parts: int = PARTS) -> dict[str, Any] | None:
        """A JSON object; None if there is none, or it is damaged, which the log says."""
        with reading(self._files, name):
            try:
                return checksummed.unpack(self._files.read(name, most), parts)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except ValueError as error:
                log.warning("%s is damaged: %s", self._files.address(name), described(error))
                return None
