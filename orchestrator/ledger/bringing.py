"""Brings the trials of another storage, or of a bundle, into a ledger: what ended there and not here, and what paused
there, further than it got here.

Nothing that ended here is changed. A trial arrives as a worker would write it, its result last, and under the same
rules (``orchestrator.ledger.ledger``): so a sweep may run meanwhile, and what was cut short is brought again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from anytime_core.files import Folder, Guard
from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger import calibrations, last_run, needs, notes
from orchestrator.ledger.archive import check_all
from orchestrator.ledger.bundle import BundleStorage
from orchestrator.ledger.ledger import LOG, RESULT, ElsewhereError, Ledger, SupersededError
from orchestrator.ledger.storage import Location, Storage, reading, reason, storage_at
from orchestrator.ledger.trials import ATTEMPT, PAUSE
from orchestrator.ledger.unended import UnendedTrial, unended
from orchestrator.ledger.whole import (
    CHECKS,
    CONFIG,
    NETWORK,
    DamagedError,
    WholeTrial,
    network_hash,
    record_in,
    whole,
)
from orchestrator.sweep.grid import Sweep, is_name
from orchestrator.sweep.trial import ID, TrialRecord, config_in, place_of

AT_ONCE = 8
"""So many trials are brought at once, with their networks in memory."""


class Fate(StrEnum):
    """What became of a trial that was to be brought."""

    COPIED = "copied"
    PAUSED = "copied, paused"
    """A point that halving stopped, or that waits for others."""
    COMPLETED = "completed"
    """Its end was here, and some of its files were not."""
    THERE = "there already"
    OPEN = "not ended"
    RUNNING = "running here"
    DIFFERS = "differs"
    DAMAGED = "damaged"

    @property
    def wrong(self) -> bool:
        return self in (Fate.DIFFERS, Fate.DAMAGED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """``what`` differs or is damaged, in words; ``theirs`` and ``ours`` are both sides of what differs, and ``label``
    says which trial that is, as far as its config tells."""

    trial_id: str
    fate: Fate
    label: str = ""
    what: str = ""
    theirs: str = ""
    ours: str = ""


def source_at(location: Location, ledger: Ledger) -> Storage:
    """The storage to bring trials from. Raises UsageError where that is none, a bundle that is not whole, or the
    ledger's own."""
    source = storage_at(location)
    if isinstance(source, BundleStorage):
        check_all(Path(source.local))
    if str(source.location) == str(ledger.storage) or _same(source.local, ledger.local):
        raise UsageError(f"{location}: is the storage itself")
    with reading(source):
        if not source.names("trials") and not source.names(calibrations.FOLDER):
            raise UsageError(
                f"{location}: holds no trials; allowed: a storage folder, the address of one in a bucket, or a bundle"
            )
    return source


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def ids_in(source: Storage) -> list[str]:
    """The trials of a storage, in order. Raises StorageError."""
    with reading(source):
        return sorted(filter(ID.fullmatch, source.names("trials")))


def bring(source: Storage, ledger: Ledger, ids: Iterable[str]) -> Iterator[Brought]:
    """Brings these trials of a storage, some at once: each waits for the disk. Raises StorageError."""
    ledger.make()
    target = storage_at(ledger.storage)
    pool = ThreadPoolExecutor(AT_ONCE, "import")
    try:
        yield from pool.map(partial(_one, source, ledger, target), ids)
    finally:
        pool.shutdown(cancel_futures=True)


def bring_sweeps(source: Storage, ledger: Ledger) -> list[str]:
    """Brings what the sweeps of a storage were made of, where nothing is left of one of that name here, and has them
    need their trials here, too: before these come, lest somebody takes them away. Returns in words which sweeps are
    left out, and why. Raises StorageError."""
    ledger.make()
    with reading(source):
        names = source.names("sweeps")
    left = [f"{name!r:.80} is not the name of a sweep" for name in names if not is_name(name)]
    for name in filter(is_name, names):
        try:
            _bring_sweep(name, source, ledger, alone=len(names) == 1)
        except StorageError:
            left.append(
                f"which trials sweep {name} needs cannot be read. `gc` would take away those that no other has: "
                f"`orchestrate import {source.location} SWEEP.yaml`, with its file, keeps them"
            )
    return left


def _bring_sweep(name: str, source: Storage, ledger: Ledger, *, alone: bool) -> None:
    """``alone``: the source has no other sweep. Raises StorageError."""
    theirs = Ledger(source.location)
    if ledger.read_sweep(name) is None and (content := theirs.read_sweep(name)):
        with _writing(ledger):
            ledger.write_sweep(name, content)
    # Of a bundle, or of an earlier version's storage, all that it holds.
    trials = theirs.read_trials(name) or (ids_in(source) if alone else needs.of(name, theirs).trials)
    with _writing(ledger):
        needs.add(name, set(trials), ledger)


def bring_notes(source: Storage, ledger: Ledger, sweep: Sweep | None = None) -> int:
    """Adds the notes of a storage, or those on one sweep and its trials, to those here. Returns how many are new.
    Raises StorageError."""
    with reading(source):
        sweeps = [sweep.name] if sweep else list(filter(is_name, source.names("notes/sweeps")))
        trials = needs.ids_of(sweep) if sweep else filter(ID.fullmatch, source.names("notes/trials"))
    found = notes.files(source, "sweeps", sweeps) | notes.files(source, "trials", sorted(trials))
    return notes.bring(found, ledger)


def keep(sweep: Sweep, ledger: Ledger) -> None:
    """Has a sweep, of whose trials some are to be brought, need them. Raises StorageError."""
    ledger.make()
    with _writing(ledger):
        last_run.remember(sweep, ledger)
        needs.add(sweep.name, needs.ids_of(sweep), ledger)


@contextmanager
def _writing(ledger: Ledger) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{ledger.storage}: storage cannot be written: {reason(error)}") from error


def _one(source: Storage, ledger: Ledger, target: Storage, trial_id: str) -> Brought:
    try:
        with reading(source):
            theirs = record_in(source, trial_id)
            if theirs is None:
                return _unended(source, ledger, target, trial_id)
            if ours := ledger.record(trial_id):
                return _beside(source, target, theirs, ours)
            trial = whole(source, trial_id)
    except DamagedError as error:
        return Brought(trial_id=trial_id, fate=Fate.DAMAGED, what=str(error))
    if trial is None:  # it was deleted just now
        return Brought(trial_id=trial_id, fate=Fate.OPEN)
    return _taken(trial, ledger, target)


def _taken(trial: WholeTrial | UnendedTrial, ledger: Ledger, target: Storage) -> Brought:
    """Writes a trial, unless it is trained here meanwhile."""
    trial_id = trial.trial_id
    try:
        with _writing(ledger):
            _write(trial, ledger, target)
    except ElsewhereError as error:
        return Brought(trial_id=trial_id, fate=Fate.RUNNING, what=f"by sweep {error.sweep}")
    except SupersededError:
        return Brought(trial_id=trial_id, fate=Fate.RUNNING, what="another attempt began, or ended, meanwhile")
    return Brought(trial_id=trial_id, fate=Fate.PAUSED if isinstance(trial, UnendedTrial) else Fate.COPIED)


def _write(trial: WholeTrial | UnendedTrial, ledger: Ledger, target: Storage) -> None:
    """As an attempt does that has trained it. What an attempt before left goes: it is of another training. Raises
    ElsewhereError, SupersededError, OSError."""
    folder = f"trials/{trial.trial_id}"
    attempt = ledger.take(trial.trial_id, trial.config)
    guard = partial(ledger.fenced, attempt)
    for name, content in trial.files.items():
        if name not in (CONFIG, ATTEMPT, PAUSE, RESULT):
            target.write(f"{folder}/{name}", content, guard)
    _drop_others(target.below(folder), trial, guard)
    if isinstance(trial, UnendedTrial):
        ledger.pause(attempt, trial.step)
    else:
        target.write(f"{folder}/{RESULT}", trial.files[RESULT], guard)


def _drop_others(folder: Folder, trial: WholeTrial | UnendedTrial, guard: Guard) -> None:
    """What an attempt here left of its network, what follows from that, and what it printed."""
    checkpoints = folder.below(NETWORK)
    with guard():
        own = _goes_on_from(checkpoints, trial)
        for name in checkpoints.names():
            if f"{NETWORK}/{name}" not in trial.files and name != own:
                checkpoints.delete(name)
        for name in {*CHECKS}.intersection(folder.names()).difference(trial.files):
            folder.delete(name)


def _goes_on_from(checkpoints: Folder, trial: WholeTrial | UnendedTrial) -> str | None:
    """Our newest checkpoint up to where a trial has paused that brings none. Its errors were the same here so far, and
    without it the trial would begin again."""
    if isinstance(trial, WholeTrial) or any(name.startswith(NETWORK) for name in trial.files):
        return None
    steps = {int(found[1]): name for name in checkpoints.names() if (found := checkpoint.NAME.fullmatch(name))}
    return steps.get(max((step for step in steps if step <= trial.step), default=-1))


def _unended(source: Storage, ledger: Ledger, target: Storage, trial_id: str) -> Brought:
    """One that has not ended there. Where it has paused, further than it got here, or as far and with the checkpoint
    that is missing here, it is brought. Raises DamagedError, StorageError."""
    theirs = unended(source, trial_id)
    if theirs is None or not theirs.paused:
        return Brought(trial_id=trial_id, fate=Fate.OPEN)
    ours = ledger.epochs(trial_id)
    both = [epoch for epoch in ours if epoch.step <= theirs.step]
    if parts := [pair for pair in zip(theirs.epochs, both, strict=False) if not _same_errors(*pair)]:
        there, here = parts[0]
        return Brought(
            trial_id=trial_id,
            fate=Fate.DIFFERS,
            label=_label(theirs.config),
            what=f"errors at step {there.step}",
            theirs=f"{there.test_error[-1]:.6g} % error at step {there.step}",
            ours=f"{here.test_error[-1]:.6g} % error at step {here.step}",
        )
    step = ours[-1].step if ours else 0
    goes_on = any(name.startswith(NETWORK) for name in theirs.files) and ledger.step(trial_id) < step
    if ledger.record(trial_id) or step > theirs.step or (step == theirs.step and not goes_on):
        return Brought(trial_id=trial_id, fate=Fate.THERE)
    return _taken(theirs, ledger, target)


def _same_errors(one: EpochMetrics, other: EpochMetrics) -> bool:
    return (one.step, one.test_error) == (other.step, other.test_error)


def _beside(source: Storage, target: Storage, theirs: TrialRecord, ours: TrialRecord) -> Brought:
    """One that has ended here, too."""
    trial_id = theirs.trial_id
    if what := _differences(theirs, ours):
        return Brought(
            trial_id=trial_id,
            fate=Fate.DIFFERS,
            label=_label(ours.config),
            what=what,
            theirs=_side(theirs),
            ours=_side(ours),
        )
    hashed = network_hash(ours) and network_hash(theirs)  # else nothing tells that both are of one training
    lacking = _files(source, trial_id) - _files(target, trial_id) if hashed else set()
    if not lacking or (trial := whole(source, trial_id, network=NETWORK in lacking, record=ours)) is None:
        return Brought(trial_id=trial_id, fate=Fate.THERE)
    for name, content in trial.files.items():
        if name.partition("/")[0] in lacking:
            target.write(f"trials/{trial_id}/{name}", content)
    return Brought(trial_id=trial_id, fate=Fate.COMPLETED, what=", ".join(sorted(lacking)))


def _files(storage: Storage, trial_id: str) -> set[str]:
    """Which of a trial's files there are that follow from its training, besides its result and config; its network by
    the name of its folder. What it printed is of one training alone."""
    there = {*CHECKS}.difference([LOG]).intersection(storage.names(f"trials/{trial_id}"))
    return there | ({NETWORK} if checkpoint.newest(storage.below(f"trials/{trial_id}/{NETWORK}")) else set())


def _differences(theirs: TrialRecord, ours: TrialRecord) -> str:
    """In which of its numbers two trainings of a trial differ; empty where in none. Times are none of these."""
    pairs = {
        "state": (theirs.state, ours.state),
        "steps": (theirs.result.steps, ours.result.steps),
        "errors": (theirs.result.errors, ours.result.errors),
        "network": (network_hash(theirs), network_hash(ours)),
        "data": (theirs.provenance.get("data_hash"), ours.provenance.get("data_hash")),
    }
    known = {name: pair for name, pair in pairs.items() if name not in ("network", "data") or all(pair)}
    return ", ".join(name for name, (one, other) in known.items() if one != other)


def _label(config: dict[str, Any]) -> str:
    with suppress(UsageError):
        return place_of(config_in(config, "a trial")).label
    return ""


def _side(record: TrialRecord) -> str:
    """One training of a trial, in words."""
    known, result = record.provenance, record.result
    parts = [
        f"{result.errors[-1]:.6g} % error" if result.errors else f"{record.state} at step {result.steps}",
        f"network {network_hash(record)}" if network_hash(record) else "",
        f"on {known.get('device_name', result.device)}",
        f"by code {known['code_version']}" if known.get("code_version") else "",
    ]
    return ", ".join(filter(None, parts))
