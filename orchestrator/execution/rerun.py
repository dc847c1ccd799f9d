"""Trains trials of a sweep again that have ended. Their results stay until the new ones are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.analysis.trace import compare, find
from orchestrator.errors import StorageError, UsageError
from orchestrator.execution.checks import check_data, check_resources
from orchestrator.execution.placing import Session
from orchestrator.execution.reproduce import training_of
from orchestrator.execution.retry_loop import RetryLoop
from orchestrator.execution.sweep_run import SweepRun
from orchestrator.ledger import reruns
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import reason
from orchestrator.planning import plan as planning
from orchestrator.planning.other_code import AGAIN, explained
from orchestrator.report.views.trial import comparison_line
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.retries import FailureTally
from orchestrator.sweep.trial import Trial
from orchestrator.text import counted
from orchestrator.tracking.tracker import Tracker


def meant(sweep: Sweep, cells: Iterable[str], ledger: Ledger) -> tuple[str, ...]:
    """The ids of the trials that these words mean, as for ``show``, or all that certain code trained: see
    ``planning.other_code.AGAIN``. Raises UsageError with all that cannot be trained again: what is no trial of the
    sweep, or has not ended. StorageError."""
    found: dict[str, Trial] = {}
    faults: list[str] = []
    for given in cells:
        if given in AGAIN.values():
            found |= {trial.id: trial for trial in _by_other_code(sweep, given, ledger)}
            continue
        try:
            trial = find(sweep, given)
        except UsageError as error:
            faults.append(str(error))
            continue
        if not trial.awaits and ledger.record(trial.id):
            found[trial.id] = trial
        else:
            state = trial.awaits or (trial.pause and trial.pause.rests) or f"it is {ledger.state(trial.id)}"
            trained = "" if trial.pause and trial.pause.lost else "; without --rerun it is trained"
            faults.append(f"--rerun {given}: {trial.cell.label} has not ended: {state}{trained}")
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(found)


def _by_other_code(sweep: Sweep, word: str, ledger: Ledger) -> Iterator[Trial]:
    """Those that have ended, by code that the word stands for; none where all were trained by today's."""
    for entry in explained(planning.make(sweep.trials, ledger)).entries:
        if entry.code and AGAIN.get(entry.code) == word:
            yield entry.trial


def rerun(run: SweepRun, trial_ids: Collection[str]) -> tuple[bool, list[str]]:
    """Trains these again, as far as they are not yet, and has what has ended take its place. Whether it was told to
    stop, and what has not ended, in words. Raises StorageError, UsageError, ClusterError."""
    trials = [replace(trial, pause=None) for trial in run.sweep.trials if trial.id in trial_ids]
    again = _beside(run, trials)
    again.ledger.make()
    with again.ledger.drive(run.sweep.name, run.driver):
        stopped, settled = _train(again), settle(run)
        left = tuple(trial for trial in trials if trial.id not in settled)
        words = replace(again, sweep=replace(again.sweep, trials=left)).troubles() if left else []
    return stopped, [*words, "until it has, its earlier result stays"] if words else []


def settle(run: SweepRun) -> list[str]:
    """Has all trainings that have ended take the place of earlier ones, and says of each whether its bits are the same;
    also those of a command that was killed just then. Returns their ids. Raises StorageError."""
    trials = {trial.id: trial for trial in run.sweep.trials}
    ended = reruns.ended(run.ledger, frozenset(trials))
    for trial_id in ended:
        said = _compared(trials[trial_id], run.ledger)
        try:
            reruns.adopt(trial_id, run.ledger)
        except OSError as error:
            raise StorageError(f"trial {trial_id}: its new result cannot be written: {reason(error)}") from error
        run.say(said)
    return ended


def _beside(run: SweepRun, trials: Sequence[Trial]) -> SweepRun:
    """The same command on these trials alone, in the storage beside. MLflow is told once they have ended."""
    ids = {trial.id for trial in trials}
    cells = {cell: trial_id for cell, trial_id in run.sweep.cells.items() if trial_id in ids}
    sweep, ledger = replace(run.sweep, trials=tuple(trials), cells=cells, tuning=()), reruns.beside(run.ledger)
    return replace(
        run,
        sweep=sweep,
        ledger=ledger,
        settings=replace(run.settings, storage=ledger.storage, command=""),
        tally=FailureTally(sweep.retries),
        tracker=_Untold(run.settings.tracking_uri, sweep, ledger, run.say),
    )


def _train(run: SweepRun) -> bool:
    settings = run.settings
    plan = planning.make(planning.sized(run.sweep.trials, cpus=settings.cpus, gpus=settings.gpus), run.ledger)
    if not plan.to_run:
        return False
    check_resources(plan, settings)
    check_data(plan, run.sweep.own_data, settings)
    run.say(f"{counted(len(plan.entries), 'trial')} trained again first; until that has ended, earlier results stay")
    with Session(run.sweep.name, settings, run.ledger, run.say) as session:
        return RetryLoop(run, session).run(plan)


class _Untold(Tracker):
    """Tells MLflow nothing."""

    def _add(self, *news: object) -> None:
        pass

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def _compared(trial: Trial, ledger: Ledger) -> str:
    again = reruns.beside(ledger)
    before, after = ledger.record(trial.id), again.record(trial.id)
    if not before or not after:
        return f"{trial.cell.label} was trained again"
    return comparison_line(compare(trial, training_of(before, ledger), training_of(after, again)))
