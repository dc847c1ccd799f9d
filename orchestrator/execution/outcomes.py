"""Writes down what a trained network answers to each image, where that was not kept as its trial ended, from what was
saved of it. As ``worker``, runs where the trial is placed, and knows nothing of Ray."""

from __future__ import annotations

from functools import partial

from anytime_core.errors import CheckpointError
from anytime_core.files import folder_at
from orchestrator.execution.images import images_for
from orchestrator.execution.worker import DriverLink, OnEpochs, Outcome, WorkerContext, described, noted
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.retries import classify, signature
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.system.environment import prepare_torch


def fill_trial(trial: Trial, where: WorkerContext, report: OnEpochs, line: DriverLink) -> Outcome:
    """Finished, once the outcomes of a trial that ended are there; failed; or pending where the trial is held.

    It sends no beats: it makes no training steps, by which one that hangs would be told from one that is slow.
    """
    prepare_torch()  # a cluster that was there before has an environment of its own
    return noted(partial(_filled, trial, where, line))


def _filled(trial: Trial, where: WorkerContext, line: DriverLink) -> Outcome:
    ledger = Ledger(where.storage)
    try:
        if line.held(trial):
            return Outcome(TrialState.PENDING)
        if not ledger.outcomes(trial.id):  # another command may have been here, or a process that died after this
            _fill(trial, where, ledger)
    except Exception as error:
        return Outcome(TrialState.FAILED, described(error), classify(error), signature=signature(error))
    return Outcome(TrialState.FINISHED)


def _fill(trial: Trial, where: WorkerContext, ledger: Ledger) -> None:
    from anytime_core.training.trainer import outcomes_of

    outcomes = outcomes_of(
        trial.config,
        ledger.checkpoints(trial.id),
        images=images_for(trial.config.data, where),
        device="cuda" if trial.resources.gpus else "cpu",
        threads=trial.resources.cpus,
    )
    ledger.fill_outcomes(trial.id, outcomes, _network_hash(trial, ledger))


def _network_hash(trial: Trial, ledger: Ledger) -> str:
    """Of the saved network. Raises CheckpointError where it is not the one that was trained."""
    from anytime_core.trained import network_hash

    checkpoints, trained = ledger.checkpoints(trial.id), ledger.network_hash(trial.id)
    if (saved := network_hash(checkpoints)) != (trained or saved):
        address = folder_at(checkpoints).address("")
        raise CheckpointError(f"{address} holds network {saved}, and the one that was trained was {trained}")
    return saved
