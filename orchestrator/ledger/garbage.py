"""What of a storage nobody needs, and how it is taken away.

A kill at any moment leaves storage that every command reads, and what is left of an item is found again. Whatever
belongs to a sweep that runs is left alone, and so is what has no name that this package gives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anytime_core.files import STALE, UNFINISHED
from anytime_core.training.checkpoint import NAME
from orchestrator.errors import UsageError
from orchestrator.ledger import snapshots
from orchestrator.ledger.ledger import RESULT, Ledger
from orchestrator.ledger.needs import Need
from orchestrator.ledger.reruns import RERUNS, beside
from orchestrator.ledger.snapshots import FOLDER as SNAPSHOTS
from orchestrator.ledger.storage import LocalStorage, Stamp, storage_at
from orchestrator.sweep.trial import ID, config_in, place_of

OF_ATTEMPTS = re.compile(r"failure\.json|pause\.json|result\.json\.damaged.*")
"""What attempts before the last one leave in the folder of a trial that has ended."""
RAY_LOGS = "ray-logs"

Files = Mapping[str, Stamp]
"""By their names below a folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """``name`` is where it is: below the storage, or an absolute path of this machine. ``about`` says what it is of,
    ``size`` is in bytes, and ``changed`` in seconds since 1970, of its newest file."""

    kind: str
    name: str
    about: str
    size: int
    changed: float

    @classmethod
    def of(cls, kind: str, name: str, about: str, files: Iterable[Stamp]) -> Item:
        files = list(files)
        newest = max((changed for changed, _, _ in files), default=time.time_ns()) / 1e9
        return cls(kind=kind, name=name, about=about, size=sum(size for _, size, _ in files), changed=newest)

    @property
    def age(self) -> float:
        """In seconds, by this machine's clock."""
        return max(time.time() - self.changed, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A storage as it is now. ``trials`` and ``reruns`` hold the files of each trial, by id, and ``noted`` the notes on
    it. ``forgotten`` are sweeps whose needs do not count any more."""

    ledger: Ledger
    needs: tuple[Need, ...]
    forgotten: tuple[str, ...] = ()
    trials: Mapping[str, Files] = field(default_factory=dict)
    reruns: Mapping[str, Files] = field(default_factory=dict)
    noted: Mapping[str, Files] = field(default_factory=dict)

    @classmethod
    def of(cls, ledger: Ledger, needs: Iterable[Need], forgotten: Iterable[str] = ()) -> View:
        """Reads the storage. Raises OSError."""
        trials, reruns, noted = (_by_trial(ledger, below) for below in ("trials", f"{RERUNS}/trials", "notes/trials"))
        return cls(
            ledger=ledger, needs=tuple(needs), forgotten=tuple(forgotten), trials=trials, reruns=reruns, noted=noted
        )

    @property
    def needed(self) -> frozenset[str]:
        return frozenset[str]().union(*(need.trials for need in self.needs))

    @property
    def running(self) -> frozenset[str]:
        """All trials of the sweeps that run."""
        return frozenset[str]().union(*(need.trials for need in self.needs if need.driver))

    @property
    def stopped(self) -> frozenset[str]:
        """The trials that halving has stopped for good, in all sweeps that have them."""
        stopped = frozenset[str]().union(*(need.stopped for need in self.needs))
        return stopped.difference(*(need.trials - need.stopped for need in self.needs))

    @property
    def ended(self) -> Iterator[tuple[str, Files]]:
        """Those that are needed and have ended, and are of no sweep that runs."""
        resting = self.needed - self.running
        return ((name, files) for name, files in self.trials.items() if name in resting and RESULT in files)


def _by_trial(ledger: Ledger, below: str) -> dict[str, dict[str, Stamp]]:
    storage = storage_at(ledger.storage)
    found: dict[str, dict[str, Stamp]] = {name: {} for name in storage.names(below) if ID.fullmatch(name)}
    for path, stamp in storage.walk(below).items():
        trial_id, _, name = path.removeprefix(f"{below}/").partition("/")
        if trial_id in found and name:
            found[trial_id][name] = stamp
    return found


# Trials


def _trials(view: View) -> Iterator[Item]:
    needed = view.needed
    unnamed = [trial_id for trial_id in {**view.trials, **view.noted} if trial_id not in needed]
    if any(need.driver for need in view.needs):
        unnamed = [trial_id for trial_id in unnamed if not view.ledger.elsewhere(trial_id, "")]
    for trial_id, label in _labels(view.ledger, unnamed).items():
        files = view.trials.get(trial_id)
        if files is None:  # a removal that was cut short
            label, files = "notes on a trial that is gone", view.noted[trial_id]
        yield Item.of("trials", f"trials/{trial_id}", label, files.values())


def _labels(ledger: Ledger, ids: list[str]) -> dict[str, str]:
    """What trials were, as tables call them; their method by the names of its parts."""
    records = ledger.records(ids)
    configs = {trial_id: records[trial_id].config if trial_id in records else None for trial_id in ids}
    return {trial_id: _label(config or ledger.config(trial_id)) for trial_id, config in configs.items()}


def _label(config: Mapping[str, Any] | None) -> str:
    try:
        return place_of(config_in(config, "a trial")).label if config else "a trial whose config is lost"
    except UsageError:
        return "a trial that this version cannot read"


def _remove_trial(ledger: Ledger, item: Item) -> None:
    ledger.remove(item.name.rpartition("/")[2])
    storage_at(ledger.storage).clear(f"notes/{item.name}")


# What trials have left


def _checkpoints(view: View) -> Iterator[Item]:
    for trial_id, files in view.ended:
        saved = (name for name in files if NAME.fullmatch(name.removeprefix("checkpoints/")))
        if older := sorted(saved, key=lambda name: (len(name), name))[:-1]:
            stamps = [files[name] for name in older]
            yield Item.of("checkpoints", f"trials/{trial_id}/checkpoints", f"{len(older)} before the last", stamps)


def _remove_checkpoints(ledger: Ledger, item: Item) -> None:
    ledger.drop_checkpoints(item.name.split("/")[1])


def _stopped(view: View) -> Iterator[Item]:
    for trial_id in view.stopped - view.running:
        files = view.trials.get(trial_id, {})
        saved = [stamp for name, stamp in files.items() if NAME.fullmatch(name.removeprefix("checkpoints/"))]
        if saved and RESULT not in files:
            yield Item.of("stopped", f"trials/{trial_id}/checkpoints", "of a point that halving stopped", saved)


def _remove_stopped(ledger: Ledger, item: Item) -> None:
    ledger.drop_unended(item.name.split("/")[1])


def _attempts(view: View) -> Iterator[Item]:
    for trial_id, files in view.ended:
        if left := _left(files):
            yield Item.of("attempts", f"trials/{trial_id}", ", ".join(sorted(left)), left.values())
    needed, running = view.needed, view.running
    for trial_id, files in view.reruns.items():
        adopted_next = trial_id in needed and RESULT in files
        if trial_id not in running and not adopted_next:
            yield Item.of("attempts", f"{RERUNS}/trials/{trial_id}", "a rerun that did not end", files.values())


def _left(files: Files) -> dict[str, Stamp]:
    """What attempts before the last one left of a trial that has ended, and writers that were killed an hour ago."""
    stale = 1e9 * (time.time() - STALE)
    return {
        name: stamp
        for name, stamp in files.items()
        if OF_ATTEMPTS.fullmatch(name) or (UNFINISHED.fullmatch(name.rpartition("/")[2]) and stamp[0] < stale)
    }


def _remove_attempts(ledger: Ledger, item: Item) -> None:
    storage = storage_at(ledger.storage)
    if item.name.startswith(RERUNS):
        storage.clear(item.name)
        return
    files = storage.walk(item.name)
    for name in _left({path.removeprefix(f"{item.name}/"): stamp for path, stamp in files.items()}):
        storage.delete(f"{item.name}/{name}")


# Snapshots


def _snapshots(view: View) -> Iterator[Item]:
    """Sources that no trial which ended was trained by, unless a sweep that runs or begins may be."""
    storage, young = storage_at(view.ledger.storage), 1e9 * (time.time() - STALE)
    there = storage.walk(SNAPSHOTS)
    if not there or any(need.driver for need in view.needs):
        return
    records = [*view.ledger.all_records().values(), *beside(view.ledger).all_records().values()]
    named = {str(record.provenance.get("snapshot")) for record in records}
    for path, stamp in there.items():
        name = path.removeprefix(f"{SNAPSHOTS}/").removesuffix(".zip")
        if snapshots.NAME.fullmatch(name) and name not in named and stamp[0] < young:
            yield Item.of("snapshots", path, "sources that trained no trial", [stamp])


def _remove_snapshot(ledger: Ledger, item: Item) -> None:
    storage_at(ledger.storage).delete(item.name)


# Sweeps


def _sweeps(view: View) -> Iterator[Item]:
    for sweep in view.forgotten:
        stamps = storage_at(view.ledger.storage).walk(f"sweeps/{sweep}").values()
        yield Item.of("sweeps", f"sweeps/{sweep}", "its report and logs", stamps)


def _remove_sweep(ledger: Ledger, item: Item) -> None:
    for storage in (storage_at(ledger.storage), LocalStorage(ledger.local)):
        storage.clear(f"notes/{item.name}")  # first: a sweep whose folder is there still is known
        storage.clear(item.name)


def _ray_logs(view: View) -> Iterator[Item]:
    local = LocalStorage(view.ledger.local)
    for need in view.needs:
        name = f"sweeps/{need.sweep}/{RAY_LOGS}"
        if not need.driver and (files := local.walk(name)):
            yield Item.of("ray", name, "logs of a Ray that did not start", files.values())


def _remove_ray_logs(ledger: Ledger, item: Item) -> None:
    LocalStorage(ledger.local).clear(item.name)


@dataclass(frozen=True, slots=True)
class Kind:
    """``find`` gives the items of a storage, ``remove`` takes one away and raises OSError or StorageError."""

    find: Callable[[View], Iterable[Item]]
    remove: Callable[[Ledger, Item], None]


KINDS: dict[str, Kind] = {
    "trials": Kind(_trials, _remove_trial),
    "checkpoints": Kind(_checkpoints, _remove_checkpoints),
    "stopped": Kind(_stopped, _remove_stopped),
    "attempts": Kind(_attempts, _remove_attempts),
    "snapshots": Kind(_snapshots, _remove_snapshot),
    "ray": Kind(_ray_logs, _remove_ray_logs),
    "sweeps": Kind(_sweeps, _remove_sweep),
}
"""In the order in which they go: what a sweep needs is known until its trials are gone."""
