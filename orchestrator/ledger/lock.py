"""One holder at a time of a name in the storage, such as the driver of a sweep.

On a disk the lock is the operating system's: it goes with the process, so a dead holder leaves none. Where there is no
such lock, in a store or on a shared folder whose system has none, it is a lease: a file that its holder writes anew
every few seconds, and that another may take once it has not changed for long enough by the taker's own clock. One whose
holder was a process of this machine that is gone is taken at once.

A lease cannot be as sure as a lock, as a store has no write on a condition here. A taker writes its own token, waits,
and reads back whose is there; who finds another's there gives up, a holder at its next renewal. So there can be two
holders for seconds, if one is halted between its look and its write for longer than ``Pace.settle``, or a holder for
longer than ``Pace.expires``. The tokens of the attempts keep them from mixing a trial even then.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestrator.ledger import checksummed
from orchestrator.ledger.storage import LocalStorage, Storage, described

log = logging.getLogger(__name__)

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a file system without locks answers."""

Owner = dict[str, Any]
"""What a holder says of itself."""


class TakenError(Exception):
    """Another holds it; ``owner`` is what that one says of itself, None where that cannot be read."""

    def __init__(self, owner: Owner | None) -> None:
        super().__init__(f"held by {owner or 'another'}")
        self.owner = owner


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Of leases, in seconds: between two renewals, until one that is not renewed is void, and from the writing of one
    to the reading back. ``expires`` is longer than the other two together: who settles does not renew yet."""

    renew: float = 5.0
    expires: float = 30.0
    settle: float = 2.0


PACE = Pace()


@contextmanager
def hold(storage: Storage, name: str, owner: Owner) -> Iterator[None]:
    """Holds a name, and says in its file who does.

    Raises TakenError if another holds it; also on leaving, where another has taken it meanwhile, which interrupts this
    process as ctrl-C does. Raises OSError if the file cannot be written.
    """
    descriptor = _locked(storage, name) if isinstance(storage, LocalStorage) else None
    if descriptor is None:
        with _leased(storage, name, owner, PACE):
            yield
        return
    try:
        content = checksummed.pack(owner)
        os.ftruncate(descriptor, 0)
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), storage.address(name))
        yield
    finally:
        os.close(descriptor)


def holder(storage: Storage, name: str) -> Owner | None:
    """Who holds a name now; None if nobody does. For a lease of another machine by the clocks of both, which may be up
    to a minute apart: to be shown, not to be relied on."""
    free = _is_free(storage, name)
    owner = _said(storage, name) if free is not True else None
    if owner is None or free is False:
        return owner
    known = {key: value for key, value in owner.items() if key not in LEASE_KEYS}
    return known if owner.keys() >= LEASE_KEYS and not _is_void(owner) else None


def is_held(storage: Storage, name: str) -> bool:
    """Whether somebody holds a name now, also one that has not said yet who it is. Of leases, as ``holder`` says."""
    return _is_free(storage, name) is False or holder(storage, name) is not None


@contextmanager
def alone(storage: Storage, name: str, seconds: float) -> Iterator[None]:
    """Holds a name for a moment, alone on a disk; goes on without where that cannot be had, in that time or at all."""
    if not isinstance(storage, LocalStorage):
        yield
        return
    with open(storage.open(name, os.O_RDWR | os.O_CREAT), "rb") as file:
        try:
            if not locked(file, seconds):
                address = storage.address(name)
                log.warning("%s: held for %.0f s by a process that does nothing; going on", address, seconds)
        except OSError as error:
            log.info("%s: this storage has no locks: %s", storage.address(name), error)
        yield


def locked(file: Any, seconds: float = 0.35) -> bool:
    """Whether the lock of an open file could be had in that time; ``holder`` has it for the blink of an eye."""
    until, pause = time.monotonic() + seconds, 0.002
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if (left := until - time.monotonic()) <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.1)


def _locked(storage: LocalStorage, name: str) -> int | None:
    """The file, which is written in place, with its lock; None where there are no locks. Raises TakenError.

    One that has another name as well, a hard link, may be any file of this user's: it is left alone, and a new one
    takes its place.
    """
    while (descriptor := _opened(storage, name)) is not None:
        try:
            if not locked(descriptor):
                raise TakenError(_said(storage, name))
            own, there = os.fstat(descriptor), storage.stamps([name]).get(name)
            if there and there[2] == own.st_ino:
                if own.st_nlink == 1:
                    return descriptor
                storage.delete(name)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def _opened(storage: LocalStorage, name: str) -> int | None:
    """The file to be locked; None where there are no locks."""
    descriptor = storage.open(name, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(descriptor)
        if error.errno in UNSUPPORTED:
            return None
        raise
    return descriptor


def _is_free(storage: Storage, name: str) -> bool | None:
    """Whether nobody has the lock; None where there are no locks."""
    if not isinstance(storage, LocalStorage):
        return None
    try:
        with open(storage.open(name, os.O_RDONLY), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError as error:
        return None if error.errno in UNSUPPORTED else True


def _said(storage: Storage, name: str) -> Owner | None:
    try:
        return checksummed.unpack(storage.read(name))
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("%s is damaged: %s", storage.address(name), described(error))
        return None


# Leases

LEASE_KEYS = {"token", "beat", "machine", "process", "renewed"}


@contextmanager
def _leased(storage: Storage, name: str, owner: Owner, pace: Pace) -> Iterator[None]:
    lease = _Lease(storage, name, owner, pace)
    lease.take()
    try:
        yield
    finally:
        lease.end()


class _Lease:
    def __init__(self, storage: Storage, name: str, owner: Owner, pace: Pace) -> None:
        self._storage, self._name, self._owner, self._pace = storage, name, owner, pace
        self._token, self._beat = uuid4().hex, 0
        self._over = threading.Event()
        self._lost: TakenError | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def take(self) -> None:
        if (seen := self._read()) is not None:
            self._outwait(seen)
        self._write()
        time.sleep(self._pace.settle)
        self._check()
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        if self._lost:
            raise self._lost
        try:
            self._check()
            self._storage.delete(self._name)
        except OSError as error:  # it will be void in a while
            log.info("%s is not deleted: %s", self._storage.address(self._name), error)

    def _outwait(self, seen: bytes) -> None:
        """Returns once the lease that was seen is void. Raises TakenError when it is renewed or another's."""
        owner = _owner(seen)
        if owner and _is_gone(owner):
            return
        said = f"{owner.get('process')} on {owner.get('host', 'another machine')}" if owner else "another process"
        log.warning("waiting for up to %.0f s to see whether process %s is alive", self._pace.expires, said)
        until = time.monotonic() + self._pace.expires
        while time.monotonic() < until:
            time.sleep(self._pace.renew / 4)
            if (now := self._read()) is None:
                return
            if now != seen:
                raise TakenError(_owner(now))

    def _check(self) -> None:
        """Raises TakenError if another's token is there."""
        if (content := self._read()) is not None and (_owner(content) or {}).get("token") != self._token:
            raise TakenError(_owner(content))

    def _keep(self) -> None:
        while not self._over.wait(self._pace.renew):
            try:
                self._check()
                self._write()
            except OSError as error:  # the store may answer again
                log.info("%s is not renewed: %s", self._storage.address(self._name), error)
            except TakenError as taken:
                self._lost = taken
                _interrupt()
                return

    def _read(self) -> bytes | None:
        try:
            return self._storage.read(self._name) or None
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        self._beat += 1
        lease = {"token": self._token, "beat": self._beat, "machine": _machine(), "process": os.getpid()}
        self._storage.write(self._name, checksummed.pack({**self._owner, **lease, "renewed": time.time()}))


def _interrupt() -> None:
    """Interrupts the main thread of this process, and no other process of its group."""
    os.kill(os.getpid(), signal.SIGINT)


def _owner(content: bytes) -> Owner | None:
    try:
        return checksummed.unpack(content)
    except ValueError:
        return None


def _is_void(lease: Owner) -> bool:
    renewed = lease["renewed"]
    return _is_gone(lease) or type(renewed) is not float or not abs(time.time() - renewed) < 60 + PACE.expires


def _is_gone(lease: Owner) -> bool:
    """Whether its holder was a process of this machine that is there no more."""
    machine, process = _machine(), lease.get("process")
    if not machine or lease.get("machine") != machine or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _machine() -> str:
    """The same for processes that know each other by number: of one boot, and of one container. Empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
