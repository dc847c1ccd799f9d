"""Takes from a storage what no sweep needs, with its runs in MLflow, and what Ray has left on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from anytime_core.files import plain_files
from orchestrator.cluster import ray_folder
from orchestrator.errors import HeldError, StorageError, TrackingError, UsageError
from orchestrator.ledger import garbage, needs
from orchestrator.ledger.garbage import Item, Kind, View
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.needs import Need
from orchestrator.ledger.storage import described
from orchestrator.text import counted

RAY = "ray"


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningSettings:
    """``given`` are the trials of sweeps by their files as they are now, by name; all other sweeps of the storage need
    what they had when they last ran, but for those to ``forget``. Kinds to ``keep`` stay, and whatever has changed in
    the last ``newer`` seconds."""

    tracking_uri: str
    given: Mapping[str, frozenset[str]] = field(default_factory=dict)
    forget: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    newer: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaning:
    """What goes, or went, and what the sweeps need. ``troubles`` say what could not be done, a line each."""

    needs: tuple[Need, ...]
    items: tuple[Item, ...]
    troubles: tuple[str, ...] = ()


def plan(ledger: Ledger, settings: CleaningSettings) -> Cleaning:
    """What would go. Raises UsageError for a sweep to forget that is none, HeldError for one that runs, StorageError,
    OSError."""
    needed = tuple(_needs(ledger, settings))
    view = View.of(ledger, needed, settings.forget)
    found = (item for name, kind in KINDS.items() if name not in settings.keep for item in kind.find(view))
    items = (item for item in found if item.age >= settings.newer)
    order = list(KINDS)
    return Cleaning(needs=needed, items=tuple(sorted(items, key=lambda it: (order.index(it.kind), -it.size, it.name))))


def clean(ledger: Ledger, settings: CleaningSettings) -> Cleaning:
    """Takes that away, while no sweep begins. What is in the way costs the item that it concerns. Raises as ``plan``
    does, and HeldError where another command cleans up."""
    with ExitStack() as stack:
        for sweep in _known(ledger, settings.forget):
            stack.enter_context(ledger.drive(sweep))
        stack.enter_context(needs.held_still(ledger))
        planned = plan(ledger, settings)
        # First, as trials that are there still are found by the next command, where this one is killed.
        troubles = [*_retired(ledger, settings.tracking_uri, planned)]
        gone = []
        for item in planned.items:
            try:
                KINDS[item.kind].remove(ledger, item)
                gone.append(item)
            except (OSError, StorageError) as error:
                troubles.append(f"{item.name} is not removed: {described(error)}")
        return Cleaning(needs=planned.needs, items=tuple(gone), troubles=tuple(troubles))


def _needs(ledger: Ledger, settings: CleaningSettings) -> Iterator[Need]:
    for sweep in sorted({*ledger.sweeps(), *settings.given}.difference(_known(ledger, settings.forget))):
        driver, given = ledger.driver(sweep), settings.given.get(sweep)
        if given is None:
            yield needs.of(sweep, ledger)
        elif driver:  # which may run by an earlier file
            yield Need(sweep=sweep, trials=given | needs.of(sweep, ledger).trials, driver=driver)
        else:
            yield Need(sweep=sweep, trials=given)


def _known(ledger: Ledger, forget: tuple[str, ...]) -> tuple[str, ...]:
    there = ledger.sweeps()
    if unknown := [name for name in forget if name not in there]:
        raise UsageError(
            f"--forget {', '.join(unknown)}: no such sweep in {ledger.storage}; there: {', '.join(there) or 'none'}"
        )
    for name in forget:
        if (driver := ledger.driver(name)) and driver.pid != os.getpid():
            raise HeldError(f"--forget {name}: it is being run by {driver}")
    return forget


def _retired(ledger: Ledger, uri: str, planned: Cleaning) -> Iterator[str]:
    """Takes the runs of what goes from MLflow, and says what is in the way."""
    from orchestrator.tracking.delivered import forget  # a list needs none of it
    from orchestrator.tracking.retired import retire

    gone = {Path(item.name).name for item in planned.items if item.kind == "trials"}
    try:
        retire(uri, ledger.id, gone)
        forget(ledger, gone)
    except TrackingError as error:
        yield f"{error}; it still lists the runs of {counted(len(gone), 'trial')} that are gone"


# Ray on this machine


def _ray(view: View) -> Iterator[Item]:
    yield from garbage.KINDS[RAY].find(view)
    for path in ray_folder.left():
        stamps = [(status.st_mtime_ns, status.st_size, 0) for file in plain_files(path) if (status := file.lstat())]
        yield Item.of(RAY, str(path), "a Ray session of a command that is gone", stamps)


def _remove_ray(ledger: Ledger, item: Item) -> None:
    if not os.path.isabs(item.name):
        garbage.KINDS[RAY].remove(ledger, item)
    elif Path(item.name) in ray_folder.left():
        shutil.rmtree(item.name)


KINDS: dict[str, Kind] = garbage.KINDS | {RAY: Kind(_ray, _remove_ray)}
