"""What a ledger keeps of each sweep: who drives it, what that one says, what the sweep is made of and what it needs."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anytime_core.documents import known, parse, typed
from anytime_core.files import LocalFolder, plain_files
from orchestrator.errors import HeldError, StorageError
from orchestrator.ledger import checksummed, lock
from orchestrator.ledger.root import Root
from orchestrator.ledger.standings import Driver, now
from orchestrator.ledger.storage import LocalStorage, described, reading, reason, writing

log = logging.getLogger(__name__)

OF_SWEEP = "trials.json"
"""Which trials a sweep needs, in its folder."""
MOST_STATUS = 1 << 25
"""Bytes of what a driver says; 100,000 running trials take 15 MB."""
MOST_SWEEP, MOST_SWEEP_PARTS = 1 << 27, 1 << 20
"""Bytes of what a sweep is made of, and lists and objects in it; 100,000 trials take 50 MB."""


class Sweeps(Root):
    """The folder of each sweep."""

    def sweep_folder(self, sweep: str) -> Path:
        """On this machine: where the storage is a bucket, ``publish`` puts there what others are to see."""
        return self.local / "sweeps" / sweep

    def sweep_files(self, sweep: str) -> LocalFolder:
        """The same, for who reads or writes what others can, too."""
        return LocalFolder(self.local, f"sweeps/{sweep}")

    def publish(self, folder: Path) -> str:
        """Puts the files below a folder, itself below ``local``, into the storage, where they are not there already.

        Returns where they are, for people. Raises StorageError.
        """
        name = folder.relative_to(self.local).as_posix()
        if isinstance(self._files, LocalStorage):
            return str(folder)
        with writing(self._files, name):
            for path in plain_files(folder):
                self._files.write(path.relative_to(self.local).as_posix(), path.read_bytes())
        return self._files.address(name)

    def write_status(self, sweep: str, content: dict[str, Any] | None) -> None:
        """Leaves a driver's word, or takes it away. Raises OSError; ValueError for what JSON has not."""
        name = f"sweeps/{sweep}/progress.json"
        if content is not None:
            self._files.write(name, checksummed.pack(content))
        elif self._files.exists(name):
            self._files.delete(name)

    def read_status(self, sweep: str) -> dict[str, Any] | None:
        """What the sweep's driver said last; None once it has ended as it should."""
        return self._content(f"sweeps/{sweep}/progress.json", MOST_STATUS)

    def write_sweep(self, sweep: str, content: dict[str, Any]) -> None:
        """Leaves what a sweep is made of, for who reads it when its file cannot be. Raises OSError."""
        self._files.write(f"sweeps/{sweep}/sweep.json", checksummed.pack(content))

    def read_sweep(self, sweep: str) -> dict[str, Any] | None:
        """What its last driver wrote. Raises StorageError."""
        return self._content(f"sweeps/{sweep}/sweep.json", MOST_SWEEP, MOST_SWEEP_PARTS)

    def sweeps(self) -> list[str]:
        """Those that have run in this storage, by name. Raises StorageError."""
        with reading(self._files, "sweeps"):
            return sorted(self._files.names("sweeps"))

    def write_trials(self, sweep: str, ids: Sequence[str]) -> None:
        """Leaves which trials a sweep needs. Raises StorageError."""
        name = f"sweeps/{sweep}/{OF_SWEEP}"
        with writing(self._files, name):
            self._files.write(name, checksummed.pack({"trials": list(ids)}))

    def read_trials(self, sweep: str) -> list[str] | None:
        """The same as its last driver left it; None where none did, or it is damaged, which the log says. Earlier
        versions left a plain list. Raises StorageError where it cannot be read now."""
        name = f"sweeps/{sweep}/{OF_SWEEP}"
        with reading(self._files, name):
            try:
                content = self._files.read(name, MOST_SWEEP)
                ids = parse(content) if content.lstrip().startswith(b"[") else checksummed.unpack(content)["trials"]
                if not isinstance(ids, list) or not all(isinstance(trial_id, str) for trial_id in ids):
                    raise ValueError("it is no list of trials")
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (LookupError, ValueError) as error:
                log.warning("%s is damaged: %s", self._files.address(name), described(error))
                return None
        return ids

    @contextmanager
    def drive(self, sweep: str, driver: str = "") -> Iterator[Path]:
        """Holds a sweep: no second driver can. ``driver`` is the id by which attempts are known to be this driver's.
        Raises HeldError that names the one that holds it, or StorageError.

        A dead driver holds nothing, or where there are no locks only for seconds (``orchestrator.ledger.lock``).
        """
        owner = asdict(Driver(host=socket.gethostname(), pid=os.getpid(), since=now(), id=driver))
        folder = self.sweep_folder(sweep)
        try:
            with ExitStack() as stack:
                try:
                    if not isinstance(self._files, LocalStorage):
                        folder.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(lock.hold(self._files, _lock_of(sweep), owner))
                except OSError as error:
                    raise StorageError(f"{folder}: storage cannot be written: {reason(error)}") from error
                yield folder
        except lock.TakenError as taken:
            holder = driver_of(taken.owner) or "another process"
            raise HeldError(f"sweep {sweep} is already being run by {holder}; storage: {self.storage}") from taken

    def driver(self, sweep: str) -> Driver | None:
        """The process that runs a sweep now; None if none does."""
        return driver_of(lock.holder(self._files, _lock_of(sweep)))


def _lock_of(sweep: str) -> str:
    return f"sweeps/{sweep}/driver.json"


def driver_of(owner: lock.Owner | None) -> Driver | None:
    """What the holder of a lock says of itself; None where that is damaged, which the log says."""
    try:
        return typed(Driver, known(Driver, owner)) if owner else None
    except ValueError as error:
        log.warning("driver.json is damaged: %s", error)
        return None
