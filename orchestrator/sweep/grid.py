"""A sweep: the cells of a table, which are a grid of networks, data sets, methods and seeds, and their trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anytime_core.data.own.source import Source
from orchestrator.extensions.finding import Extension
from orchestrator.sweep.notify import Notify
from orchestrator.sweep.report import Report
from orchestrator.sweep.retries import Retries
from orchestrator.sweep.trial import Cell, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """``trials`` are distinct; ``cells`` name the trial of each place in the tables, and two places may share one."""

    name: str
    description: str
    path: Path
    trials: tuple[Trial, ...]
    cells: Mapping[Cell, str]
    report: Report
    retries: Retries = field(default_factory=Retries)
    notify: Notify = field(default_factory=Notify)
    extensions: tuple[Extension, ...] = ()
    own_data: Mapping[str, Source] = field(default_factory=dict)
    """Where the data sets of the user's own lie, by their names."""
    remarks: tuple[str, ...] = ()
    """What the reader of the sweep file noted."""

    @property
    def validated(self) -> frozenset[str]:
        """The data sets whose errors are those of images held out from training, not of test images."""
        return frozenset(trial.config.data.name for trial in self.trials if trial.config.data.validated)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is allowed but seldom meant, and what else the user is to know."""
        training = self.trials[0].config.training
        late = ", ".join(str(step) for step in training.learning_rate if step >= training.steps)
        never = f"learning_rate changes at step {late}, which {training.steps} steps never reach"
        return (*self.remarks, *([never] if late else []))
