"""What a run holds already: which training of its trial it shows, and what of that it lacks. Imports no MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anytime_core.config import TrialConfig
from anytime_core.result import EpochMetrics
from orchestrator.tracking.views import EPOCH, IDENTITY, epoch_metrics

TRAINING = "training"
"""Of a run: which training of its trial it shows. Runs of earlier versions have no such tag."""

History = Callable[[], Sequence[EpochMetrics]]
"""All epochs of a trial so far."""


@dataclass(slots=True)
class TrackedRun:
    """What a run holds already."""

    run_id: str
    name: str
    place: str
    """Where its files are, as MLflow has it."""
    last_epoch: int
    status: str
    has_params: bool
    has_data: bool
    has_files: bool | None
    """None where that is not known."""
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest values, as they were when it was found."""


def fullness(run: TrackedRun) -> tuple[int, bool, bool]:
    return run.last_epoch, run.status != "RUNNING", run.has_params


def mark_of(tags: Mapping[str, str]) -> str:
    """The name of a training: when it began, or else what came of it. Empty where the ledger knows neither."""
    return next((tags[name] for name in IDENTITY if tags.get(name)), "")


def _agree(held: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    """Whether the tags of a run may be of the training that the ledger has."""
    return all(held[name] == tags[name] for name in IDENTITY if held.get(name) and tags.get(name))


def shows(run: TrackedRun, config: TrialConfig, tags: Mapping[str, str], history: History | None) -> bool | None:
    """Whether a run is of the training that the ledger has; None where nothing tells yet. In a run of an earlier
    version the tags may be of a later training than the numbers, so those of its last epoch are compared too."""
    if not _agree(run.tags, tags):
        return False
    last = run.metrics.get(EPOCH)
    if TRAINING in run.tags or last is None:
        return True
    epoch = next((epoch for epoch in (history() if history else ()) if epoch.epoch == last), None)
    return None if epoch is None else _has(run, epoch_metrics(config, epoch))


def _has(run: TrackedRun, expected: Mapping[str, float]) -> bool:
    """Whether its latest errors and losses are these."""
    compared = {name: value for name, value in expected.items() if name.startswith(("error/", "loss/"))}
    return all(
        math.isclose(run.metrics[name], value, rel_tol=1e-9) for name, value in compared.items() if name in run.metrics
    )


def start_of(epochs: Sequence[EpochMetrics]) -> int | None:
    """In milliseconds; None is now."""
    return int((epochs[0].timestamp - epochs[0].seconds) * 1000) if epochs else None


def end_of(epochs: Sequence[EpochMetrics]) -> int | None:
    return int(epochs[-1].timestamp * 1000) if epochs else None


def next_epochs(epochs: Iterable[EpochMetrics], last: int) -> list[EpochMetrics]:
    """Those that follow on the last one; none where there is a gap, as after a run was made anew in training."""
    new = [epoch for epoch in epochs if epoch.epoch > last]
    return new if new and new[0].epoch == last + 1 else []
