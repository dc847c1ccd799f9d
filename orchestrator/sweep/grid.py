"""A sweep: the cells of a table, which are a grid of networks, data sets, methods and seeds, and their trials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from anytime_core.data.own.source import Source
from orchestrator.extensions.finding import Extension
from orchestrator.sweep.carbon import Carbon
from orchestrator.sweep.deciding import Deciding
from orchestrator.sweep.halving import Curve, further
from orchestrator.sweep.limits import Price
from orchestrator.sweep.notify import Notify
from orchestrator.sweep.report import Report
from orchestrator.sweep.retries import Retries
from orchestrator.sweep.trial import Cell, Trial, TrialRecord
from orchestrator.sweep.tuning import Tuning

NAME, LONGEST_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*", 64
"""Of a sweep, and of what its file names."""


def is_name(name: str) -> bool:
    """Whether a sweep file can give this name; a folder of somebody else's storage can have any."""
    return len(name) <= LONGEST_NAME and re.fullmatch(NAME, name) is not None


def named(name: str) -> str:
    """The name of a sweep's folder as people read it: one that no sweep file can give is in quotes, and in one line."""
    return name if is_name(name) else repr(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """``trials`` are distinct; ``cells`` name the trial of each place in the tables, and two places may share one.
    Trials of a ``tuning`` stand in no table: they choose which others do."""

    name: str
    description: str
    path: Path
    trials: tuple[Trial, ...]
    cells: Mapping[Cell, str]
    report: Report
    retries: Retries = field(default_factory=Retries)
    notify: Notify = field(default_factory=Notify)
    price: Price | None = None
    """Of an hour of a device."""
    carbon: Carbon | None = None
    """Of a kilowatt-hour."""
    extensions: tuple[Extension, ...] = ()
    own_data: Mapping[str, Source] = field(default_factory=dict)
    """Where the data sets of the user's own lie, by their names."""
    remarks: tuple[str, ...] = ()
    """What the reader of the sweep file noted."""
    tuning: tuple[Tuning, ...] = ()
    deciding: Deciding | None = None
    """What it is to decide, which says how many of the seeds it has."""

    @property
    def ids(self) -> list[str]:
        """Of its trials, but for those that are not chosen yet."""
        return [trial.id for trial in self.trials if not trial.awaits]

    @property
    def candidates(self) -> frozenset[str]:
        """The ids of all trials that its tuning may choose, or that may be added to decide what it is to decide."""
        results = [point.results for one in self.tuning for point in one.points]
        tuned = {cell for own in results for cell in own}
        chosen = {trial.id for own in results for trial in own.values()}
        return frozenset(chosen.union(trial.id for cell, trial in self._pool.items() if cell not in tuned))

    @property
    def _pool(self) -> Mapping[Cell, Trial]:
        return self.deciding.cells if self.deciding else {}

    @property
    def in_tables(self) -> tuple[Trial, ...]:
        """The trials that stand in the tables."""
        ids = set(self.cells.values())
        return tuple(trial for trial in self.trials if trial.id in ids)

    @property
    def whole(self) -> Sweep:
        """The sweep with all seeds that it may come to have."""
        if not self.deciding:
            return self
        pool = self._pool
        tried = [trial for one in self.tuning for trial in one.trials]
        trials = {trial.id: trial for trial in (*tried, *pool.values())}
        return replace(self, trials=tuple(trials.values()), cells={cell: trial.id for cell, trial in pool.items()})

    def chosen(self, records: Mapping[str, TrialRecord], curves: Mapping[str, Curve] | None = None) -> Sweep:
        """The sweep with what its tuning chooses by these records, which are of trials that ended, by id; and where it
        halves its points, by the curves of those that began. Of its seeds it has those that its comparisons need."""
        tuned = self.whole._tuned(records, curves or {})
        return tuned._decided(records)

    def _tuned(self, records: Mapping[str, TrialRecord], curves: Mapping[str, Curve]) -> Sweep:
        if not self.tuning:
            return self
        tuning = tuple(one.seen(records, curves) for one in self.tuning)
        results = {cell: trial for one in tuning for cell, trial in one.results.items()}
        ordinary = {trial.id: trial for trial in self.trials if not trial.awaits}
        known = {trial.id: trial for trial in results.values()} | ordinary
        first: dict[str, Trial] = {}
        for trial in (trial for one in tuning for trial in one.trials):
            first[trial.id] = further(first.get(trial.id, trial), trial)
        cells = {cell: results[cell].id if cell in results else trial_id for cell, trial_id in self.cells.items()}
        trials = first | {trial_id: known[trial_id] for trial_id in cells.values()}
        return replace(self, tuning=tuning, cells=cells, trials=tuple(trials.values()))

    def _decided(self, records: Mapping[str, TrialRecord]) -> Sweep:
        if not self.deciding:
            return self
        tried = {trial.id for one in self.tuning for trial in one.trials}
        deciding = self.deciding.seen(self.cells, records, tried)
        cells = {cell: trial_id for cell, trial_id in self.cells.items() if deciding.includes(cell)}
        kept = tried.union(cells.values())
        trials = tuple(trial for trial in self.trials if trial.id in kept)
        return replace(self, deciding=deciding, cells=cells, trials=trials)

    @property
    def validated(self) -> frozenset[str]:
        """The data sets whose errors are those of images held out from training, not of test images."""
        return frozenset(trial.config.data.name for trial in self.in_tables if trial.config.data.validated)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is allowed but seldom meant, and what else the user is to know."""
        training = self.trials[0].config.training
        late = ", ".join(str(step) for step in training.learning_rate if step >= training.steps)
        never = f"learning_rate changes at step {late}, which {training.steps} steps never reach"
        return (*self.remarks, *([never] if late else []))
