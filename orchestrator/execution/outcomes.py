"""Writes down what trained networks answer to each image where that was not kept as they ended, from what was saved of
them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from anytime_core.errors import TrainerError
from orchestrator.errors import OrchestratorError
from orchestrator.execution.reproduce import ReproduceSettings
from orchestrator.ledger.ledger import Ledger
from orchestrator.owndata.formats import images_of
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState


class Kept(StrEnum):
    """What became of a trial's outcomes."""

    THERE = "there"
    WRITTEN = "written"
    PENDING = "not finished"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """``error`` says why it failed."""

    trial: Trial
    state: Kept
    error: str = ""


def fill(
    trials: Iterable[Trial], ledger: Ledger, settings: ReproduceSettings, told: Callable[[Filled], None]
) -> list[Filled]:
    """One trial after the other, so that the same command goes on where it was interrupted. Each is ``told``."""
    found = []
    for filled in _filled(trials, ledger, settings):
        told(filled)
        found.append(filled)
    return found


def _filled(trials: Iterable[Trial], ledger: Ledger, settings: ReproduceSettings) -> Iterator[Filled]:
    for trial in trials:
        record = ledger.record(trial.id)
        if record is None or record.state is not TrialState.FINISHED:
            yield Filled(trial=trial, state=Kept.PENDING)
        elif ledger.outcomes(trial.id):
            yield Filled(trial=trial, state=Kept.THERE)
        else:
            try:
                _fill(trial, record, ledger, settings)
                yield Filled(trial=trial, state=Kept.WRITTEN)
            except (OrchestratorError, TrainerError) as error:
                yield Filled(trial=trial, state=Kept.FAILED, error=str(error))


def _fill(trial: Trial, record: TrialRecord, ledger: Ledger, settings: ReproduceSettings) -> None:
    from anytime_core.training.trainer import outcomes_of

    threads = record.provenance.get("threads")
    outcomes = outcomes_of(
        trial.config,
        ledger.checkpoints(trial.id),
        images=images_of(trial.config.data, settings.own_data, settings.data_root, check_md5=settings.check_md5),
        threads=threads if isinstance(threads, int) else trial.resources.cpus,
    )
    ledger.fill_outcomes(trial.id, outcomes)
