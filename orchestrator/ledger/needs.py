"""Which trials the sweeps of a storage need, so that nobody takes them away.

A driver first says what its sweep needs, then waits until nobody takes anything away, and only then looks at trials.
Who takes trials away first takes a lock, and only then reads what is needed. Whichever of the two comes first, the
other sees it: a trial that a sweep has seen stays, and one that was taken away before is trained again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import HeldError, StorageError
from orchestrator.ledger import last_run, lock
from orchestrator.ledger.ledger import OF_SWEEP, Driver, Ledger, driver_of, now
from orchestrator.ledger.storage import reason, storage_at
from orchestrator.sweep.grid import Sweep, named

LOCK = "gc.json"
WAIT_SECONDS = 0.5
OF_STARTS = {"driver.json", "progress.json", "ray.log", "ray-logs"}
"""What the folder of a sweep can hold that never came to look at a trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """The trials that one sweep needs. Those of points that halving has ``stopped`` for good it needs for what they had
    by then, and not to go on. ``driver`` runs it now."""

    sweep: str
    trials: frozenset[str]
    stopped: frozenset[str] = frozenset()
    driver: Driver | None = None


def ids_of(sweep: Sweep) -> frozenset[str]:
    """All trials that it has, or that its tuning may choose."""
    return sweep.candidates.union(sweep.ids)


def declare(sweep: Sweep, ledger: Ledger) -> None:
    """Says which trials a sweep needs. Raises StorageError."""
    ids = sorted(ids_of(sweep))
    if ledger.read_trials(sweep.name) != ids:
        ledger.write_trials(sweep.name, ids)


def add(sweep: str, trial_ids: Collection[str], ledger: Ledger) -> None:
    """Has a sweep need these trials, beside those that it needs already. Raises StorageError."""
    there = of(sweep, ledger).trials
    if trial_ids and not there.issuperset(trial_ids):
        ledger.write_trials(sweep, sorted(there.union(trial_ids)))


def of(sweep: str, ledger: Ledger) -> Need:
    """What a sweep of the storage needs, by what its last driver left. Raises StorageError where nothing can be read of
    that although it has run."""
    driver, declared = ledger.driver(sweep), ledger.read_trials(sweep)
    if declared is not None:
        return Need(sweep=sweep, trials=frozenset(declared), driver=driver)
    files = set(storage_at(ledger.storage).names(f"sweeps/{sweep}"))
    damaged = OF_SWEEP in files
    known = None if damaged else last_run.recalled(sweep, Path(sweep), ledger)  # all that an earlier version left
    if known is None and (driver or files - OF_STARTS):
        raise StorageError(
            f"which trials sweep {named(sweep)} needs cannot be read in {ledger.storage}: give its file, or "
            f"--forget {named(sweep)}"
        )
    return Need(sweep=sweep, trials=ids_of(known) if known else frozenset(), driver=driver)


@contextmanager
def held_still(ledger: Ledger) -> Iterator[None]:
    """A block in which no sweep begins to look at trials. Raises HeldError where another holds it, StorageError."""
    files = storage_at(ledger.storage)
    owner = asdict(Driver(host=socket.gethostname(), pid=os.getpid(), since=now()))
    try:
        with lock.hold(files, LOCK, owner):
            yield
    except lock.TakenError as taken:
        holder = driver_of(taken.owner) or "another process"
        raise HeldError(f"{ledger.storage} is already being cleaned up by {holder}") from taken


def wait(ledger: Ledger, say: Callable[[str], object], until: float | None = None) -> None:
    """Returns once nobody takes trials away. Raises HeldError where somebody still does at ``until``, in seconds since
    1970, and StorageError."""
    files, said = storage_at(ledger.storage), False
    try:
        while lock.is_held(files, LOCK):
            holder = driver_of(lock.holder(files, LOCK)) or "another process"
            if until is not None and time.time() >= until:
                raise HeldError(f"the limit has passed while {holder} cleaned up {ledger.storage}; nothing has begun")
            if not said:
                say(f"waiting until {holder} has cleaned up {ledger.storage}")
            said = True
            time.sleep(WAIT_SECONDS)
    except OSError as error:
        raise StorageError(f"{files.address(LOCK)}: cannot be read: {reason(error)}") from error
