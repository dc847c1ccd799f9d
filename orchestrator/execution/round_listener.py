"""Hears what happens in a round of trials, and says what the scheduler must not begin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from anytime_core.result import EpochMetrics
from orchestrator.errors import StorageError
from orchestrator.execution.progress import Progress
from orchestrator.execution.rationing import Ration
from orchestrator.execution.sweep_run import SweepRun
from orchestrator.execution.worker import Outcome
from orchestrator.ledger.ledger import ElsewhereError, SupersededError
from orchestrator.planning.plan import PlannedTrial
from orchestrator.sweep.retries import Failed, FailureKind, Holds, without_numbers
from orchestrator.sweep.trial import TrialState
from orchestrator.system.shutdown import Shutdown


class RoundListener:
    """Tells the terminal and MLflow what happens, counts what fails, and says what is not to be begun."""

    def __init__(
        self,
        run: SweepRun,
        planned: Sequence[PlannedTrial],
        progress: Progress,
        shutdown: Shutdown,
        ration: Ration,
    ) -> None:
        self.elsewhere: set[str] = set()
        """The trials that another sweep trains now."""
        self._trials = {entry.trial.id: entry.trial for entry in planned}
        self._run, self._progress, self._shutdown, self._ration = run, progress, shutdown, ration
        self._waiting: set[str] = set()

    @property
    def holds(self) -> Holds:
        return Holds(
            everything=self._shutdown.requested or self._ration.over,
            methods=frozenset(self._run.tally.stopped),
            trials=self._ration.held.union(self._waiting),
        )

    @property
    def overdue(self) -> bool:
        return self._shutdown.overdue or self._ration.overdue

    def started(self, trial_id: str) -> None:
        if not self._is_held(trial_id) and self._ration.began(trial_id):
            self._progress.started(trial_id)
            self._run.tracker.started(trial_id)

    @property
    def rationed(self) -> frozenset[str]:
        """The trials that the limits of the command hold back."""
        return self._ration.held

    def _is_held(self, trial_id: str) -> bool:
        return self.holds.cover(trial_id, self._trials[trial_id].cell.method)

    def placed(self, trial_id: str) -> None:
        with suppress(StorageError):
            if attempt := self._run.ledger.attempt(trial_id):
                self._progress.placed(trial_id, attempt.place)

    def reached(self, trial_id: str, step: int) -> None:
        self._progress.reached(trial_id, step)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        self._ration.progressed(trial_id, epochs)
        self._progress.progressed(trial_id, epochs)
        self._run.tracker.progressed(trial_id, epochs)

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        self._ration.ended(trial_id)
        match outcome.state:
            case TrialState.RUNNING:
                self.elsewhere.add(trial_id)
                self._progress.left(trial_id)
            case TrialState.PENDING:
                self._progress.left(trial_id)
            case _:
                self._count(trial_id, outcome)
                self._progress.ended(trial_id, outcome)
                self._run.tracker.ended(trial_id, outcome.state)

    def _count(self, trial_id: str, outcome: Outcome) -> None:
        if outcome.state is TrialState.FAILED:
            failed = Failed(
                kind=outcome.kind or FailureKind.BUG, error=outcome.error or "", signature=outcome.signature
            )
            self._failed(trial_id, failed)
        elif outcome.state is TrialState.INTERRUPTED and not self._is_held(trial_id):  # another took it over
            self._failed(trial_id, Failed(kind=FailureKind.LOST, error=outcome.error or "", signature="superseded"))
        elif outcome.state.ended or outcome.state is TrialState.PAUSED:
            self._run.tally.mended(trial_id)

    def _failed(self, trial_id: str, failure: Failed) -> None:
        method, stopped = self._trials[trial_id].cell.method, len(self._run.tally.stopped)
        self._run.tally.failed(trial_id, method, failure)
        if len(self._run.tally.stopped) > stopped:
            words = (
                f"no more trials of {method} are begun: {self._run.tally.policy.same_failure} failed in the same way"
            )
            self._run.say(words)
            self._run.notifier.tell("method stopped", f"{words}: {failure.error}")

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None:
        """A trial whose process died starts again at once, unless it needs more memory or does so again and again."""
        if trial_id in self._waiting:  # it died again before it could ask
            return
        if kind is FailureKind.LOST and self._run.tally.lost(trial_id, self._step(trial_id)):
            self._ration.lost(trial_id)
            self._progress.lost(trial_id, reason)
            self._run.tracker.ended(trial_id, TrialState.INTERRUPTED)
            return
        if kind is FailureKind.LOST:
            times = self._run.tally.restarts(trial_id)
            reason, kind = f"{reason}, {times} times in a row without a new checkpoint", FailureKind.BUG
        self._waiting.add(trial_id)
        failure = Failed(kind=kind, error=reason, signature=without_numbers(reason))
        self._write_down(trial_id, failure)
        self.ended(trial_id, Outcome(TrialState.FAILED, reason, kind, signature=failure.signature))

    def waits(self, reason: str) -> None:
        self._run.say(f"no trial runs: {reason}")

    def _step(self, trial_id: str) -> int:
        """Of its newest checkpoint; as if there were none where that cannot be read now."""
        with suppress(StorageError):
            return self._run.ledger.step(trial_id)
        return 0

    def _write_down(self, trial_id: str, failure: Failed) -> None:
        """In the place of the worker, which is dead, and may have died before it began an attempt."""
        ledger = self._run.ledger
        try:
            attempt = ledger.attempt(trial_id)
            if not attempt or attempt.driver != self._run.driver:
                attempt = ledger.begin(self._trials[trial_id], self._run.sweep.name, driver=self._run.driver)
            ledger.fail(attempt, failure.error, kind=failure.kind, signature=failure.signature)
        except (OSError, StorageError, SupersededError, ElsewhereError):
            self._run.say(f"{self._trials[trial_id].cell.label}: its failure could not be written down")
