"""What training one trial gives. Standard library only; errors are in percent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from anytime_core.config import MILESTONES
from anytime_core.cost import milestone_index
from anytime_core.documents import typed

USAGE = ("cpu_percent", "memory", "gpu_percent", "gpu_memory")
TIMES = ("data_seconds", "evaluation_seconds", "checkpoint_seconds", "waiting_seconds")
ENERGY = ("cpu_joules", "gpu_joules")
OF_THE_MACHINE = ("seconds", "timestamp", *USAGE, *TIMES, *ENERGY)
"""Fields of an epoch that differ from run to run; all others are the same bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMetrics:
    """One pass over the training images. All tuples have one entry a prediction, first to last.

    ``step`` counts the steps done at its end. ``probabilities`` are those with which the strategy amplified each loss
    at its start; there are none where none is amplified. ``test_loss`` and ``test_error`` are empty where the epoch
    ended without an evaluation. ``timestamp`` is in seconds since 1970. The fields after it say what the epoch took of
    its machine, as ``training.usage`` measures it; memory is in bytes. None is what nobody measured.

    ``data_seconds`` and ``evaluation_seconds`` are parts of ``seconds``; the rest are the steps. On a GPU the steps
    make their batches themselves, and ``data_seconds`` are those of the draws alone. ``checkpoint_seconds`` and
    ``waiting_seconds`` passed before the epoch, since the one before or the start of the training; the latter are all
    but checkpoints: the storage, whoever is told, and the network that is built or restored.

    ``cpu_joules`` is the process's part of what the machine's processors took in these ``seconds``, ``gpu_joules`` all
    that its GPU took, whoever else had a share of it: see ``training.energy``.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: tuple[float, ...]
    train_error: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_error: tuple[float, ...]
    probabilities: tuple[float, ...]
    seconds: float
    timestamp: float
    cpu_percent: float | None = None
    memory: float | None = None
    gpu_percent: float | None = None
    gpu_memory: float | None = None
    data_seconds: float | None = None
    evaluation_seconds: float | None = None
    checkpoint_seconds: float | None = None
    waiting_seconds: float | None = None
    cpu_joules: float | None = None
    gpu_joules: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EpochMetrics:
        """From the fields as JSON holds them: lists in place of tuples. Raises ValueError."""
        return typed(cls, values)

    @property
    def evaluated(self) -> bool:
        """Whether it ended with an evaluation, as a trial's last epoch always does."""
        return bool(self.test_error)

    @property
    def diverged(self) -> bool:
        """True when a loss is no longer a finite number."""
        return not all(math.isfinite(loss) for loss in self.train_loss + self.test_loss)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """The end of a trial. ``errors``, on the test images, exist only when it finished; a diverged trial has none."""

    state: Literal["finished", "diverged"]
    units: tuple[int, ...]
    costs: tuple[int, ...]
    errors: tuple[float, ...]
    steps: int
    seconds: float
    device: str

    def __post_init__(self) -> None:
        expected = len(self.units) if self.state == "finished" else 0
        if len(self.costs) != len(self.units) or len(self.errors) != expected:
            counts = f"{len(self.units)} units, {len(self.costs)} costs and {len(self.errors)} errors"
            raise ValueError(f"a {self.state} trial cannot have {counts}")


def milestone_errors(costs: Sequence[int], errors: Sequence[float]) -> dict[Fraction, float | None]:
    """Error of the latest prediction at 1/4, 1/2, 3/4 and all of the cost (section 4.1); None before the first one."""
    indices = {fraction: milestone_index(costs, fraction) for fraction in MILESTONES}
    return {fraction: None if index is None else errors[index] for fraction, index in indices.items()}


def average_error(errors: Sequence[float]) -> float:
    """AE: the plain mean of the errors of all predictions (section 4.1)."""
    return math.fsum(errors) / len(errors)
