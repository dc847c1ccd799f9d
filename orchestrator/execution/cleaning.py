"""Takes from a storage what no sweep needs, with its runs in MLflow, and what Ray has left on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core.files import plain_files
from orchestrator.cluster import ray_folder
from orchestrator.errors import HeldError, StorageError, TrackingError, UsageError
from orchestrator.ledger import choices, garbage, last_run, needs
from orchestrator.ledger.garbage import Item, Kind, View
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.needs import Need
from orchestrator.ledger.storage import described
from orchestrator.report.views.cleaning import size
from orchestrator.sweep.grid import Sweep
from orchestrator.text import counted

if TYPE_CHECKING:
    from orchestrator.tracking.retired import Retired

RAY = "ray"


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningSettings:
    """``given`` are sweeps by their files as they are now; all other sweeps of the storage need what they had when they
    last ran, but for those to ``forget``. Kinds to ``keep`` stay, and whatever has changed in the last ``newer``
    seconds."""

    tracking_uri: str
    given: tuple[Sweep, ...] = ()
    forget: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    newer: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaning:
    """What goes, or went, and what the sweeps need. ``left`` items could not be removed; ``troubles`` say why, and what
    else could not be done, a line each, and ``notes`` what became of MLflow's runs."""

    needs: tuple[Need, ...]
    items: tuple[Item, ...]
    left: int = 0
    notes: tuple[str, ...] = ()
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
        retired, troubles = _retired(ledger, settings.tracking_uri, planned)
        gone = []
        for item in planned.items:
            try:
                KINDS[item.kind].remove(ledger, item)
                gone.append(item)
            except (OSError, StorageError) as error:
                troubles.append(f"{item.name} is not removed: {described(error)}")
        left = len(planned.items) - len(gone)
        return Cleaning(needs=planned.needs, items=tuple(gone), left=left, notes=retired, troubles=tuple(troubles))


def _needs(ledger: Ledger, settings: CleaningSettings) -> Iterator[Need]:
    given: dict[str, list[Sweep]] = {}
    for sweep in settings.given:
        given.setdefault(sweep.name, []).append(sweep)
    for name in sorted({*ledger.sweeps(), *given}.difference(_known(ledger, settings.forget))):
        own, driver = given.get(name, []), ledger.driver(name)
        # One that runs may do so by an earlier file.
        before = needs.of(name, ledger).trials if driver or not own else frozenset[str]()
        yield Need(
            sweep=name,
            trials=before.union(*map(needs.ids_of, own)),
            stopped=frozenset() if driver else _stopped(own or _last(name, ledger), ledger),
            driver=driver,
        )


def _last(name: str, ledger: Ledger) -> list[Sweep]:
    """A sweep as it last ran, where that is known."""
    sweep = last_run.recalled(name, Path(name), ledger)
    return [sweep] if sweep else []


def _stopped(sweeps: Sequence[Sweep], ledger: Ledger) -> frozenset[str]:
    """The trials that halving has stopped in all of these that have them."""
    stopped = {index: choices.stopped(sweep, ledger) for index, sweep in enumerate(sweeps)}
    others = (needs.ids_of(sweep) - stopped[index] for index, sweep in enumerate(sweeps))
    return frozenset[str]().union(*stopped.values()).difference(*others)


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


def _retired(ledger: Ledger, uri: str, planned: Cleaning) -> tuple[tuple[str, ...], list[str]]:
    """Takes the runs of what goes from MLflow. What became of them, and what is in the way."""
    from orchestrator.tracking.delivered import forget  # a list needs none of it
    from orchestrator.tracking.retired import retire

    gone = {Path(item.name).name for item in planned.items if item.kind == "trials"}
    try:
        retired = retire(uri, ledger, gone)
        forget(ledger, gone)
    except TrackingError as error:
        return (), [f"{error}; it still lists the runs of {counted(len(gone), 'trial')} that are gone"]
    return tuple(in_words(retired)), []


def in_words(retired: Retired) -> Iterator[str]:
    """What became of MLflow's runs, a line each."""
    files = "it keeps their files until `mlflow gc`" if retired.size is None else f"{size(retired.size)} of their files"
    if retired.runs:
        yield f"MLflow: {counted(retired.runs, 'run')} deleted; {files}"
    if retired.others:
        yield (
            f"MLflow: {counted(retired.others, 'run')} left: another copy of this storage made them, or an earlier "
            "version that did not say which"
        )


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
