"""Runs the trials of a plan in rounds, a fresh Tuner each, until the sweep's policy has none left to try again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from orchestrator.errors import StorageError
from orchestrator.execution.console import tell
from orchestrator.execution.placing import Session, worker_context
from orchestrator.execution.progress import Progress
from orchestrator.execution.rationing import Ration
from orchestrator.execution.round_listener import RoundListener
from orchestrator.execution.sweep_run import SweepRun
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.live_status import StatusWriter
from orchestrator.planning import estimate, step_times
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import Plan
from orchestrator.report.verdicts.decisions import decision_lines
from orchestrator.sweep.retries import backoff
from orchestrator.sweep.trial import Trial
from orchestrator.system.shutdown import Shutdown
from orchestrator.table import duration
from orchestrator.text import counted

ELSEWHERE_SECONDS = 1.0
"""Between two looks at trials that another sweep runs."""


class RetryLoop:
    """Runs trials, and those again that the sweep's policy says, until there is none of them left."""

    def __init__(self, run: SweepRun, session: Session, then: Callable[[], object] = lambda: None) -> None:
        """``then`` is called once none is left; not where the command was told to stop."""
        self._run, self._session, self._then = run, session, then
        self._rng = random.Random()  # of pauses alone: commands that failed together must not come back together

    def run(self, plan: Plan) -> bool:
        """Whether it was told to stop."""
        run = self._run
        plan = self._session.place(plan, self._end_without_head)  # Ray takes signal handlers away: ours come after
        with (
            Shutdown(run.say, patience=run.settings.grace) as shutdown,
            # Nobody else can write there: Tune pickles what it notes of a round, and follows links.
            TemporaryDirectory(prefix="orchestrate-") as private,
        ):
            while plan.to_run and not shutdown.requested:
                heard = self._round(plan, shutdown, Path(private) / "tune")
                plan = self._next(plan, heard, shutdown)
            if not shutdown.requested:
                self._then()
        return shutdown.requested

    def _end_without_head(self) -> NoReturn:
        """From a thread: the main one waits for Ray, which will not answer and soon end the process by itself."""
        say = partial(tell, self._run.console)
        try:
            say("error: the head node of the Ray cluster is gone")
            for line in self._run.troubles():
                say(line)
            self._run.notifier.tell("failed", "the head node of the Ray cluster is gone; the same command goes on")
            self._run.tracker.__exit__()  # delivers; slow where MLflow is gone too
            for line in self._run.tracker.troubles():
                say(line)
            self._run.notifier.wait()
        finally:
            os._exit(1)

    def _round(self, plan: Plan, shutdown: Shutdown, folder: Path) -> RoundListener:
        from orchestrator.execution import scheduler

        settings = self._run.settings
        where = worker_context(
            self._run.sweep,
            settings,
            self._run.ledger,
            driver=self._run.driver,
            snapshot=self._run.snapshot,
            checkpoint_share=self._run.tally.policy.checkpoint_share,
        )
        trials = [entry.trial for entry in plan.to_run]
        left = [entry.trial.id for entry in plan.entries if entry.action in ("leave", "wait")]
        failed = sum(trial_id in self._run.tally.failures for trial_id in left)
        kept = plan.actions["keep"] + plan.actions["stop"]
        counts = {"kept": kept, "failed": failed, "left": len(left) - failed}
        step_seconds = self._step_seconds(plan)
        shares = {trial.id: self._run.tally.share(trial.id) for trial in trials}
        all_known = step_seconds if len(step_seconds) == len(trials) else {}
        with (
            Progress(
                plan.to_run,
                console=self._run.console,
                **counts,
                step_seconds=all_known,
                standing=decision_lines(self._run.sweep.deciding),
            ) as progress,
            StatusWriter(self._run.ledger, self._run.sweep.name, progress.snapshot),
        ):
            ration = Ration(self._run.spending, plan.to_run, step_seconds, shares)
            heard = RoundListener(self._run, plan.to_run, progress, shutdown, ration)
            scheduler.run_round(
                trials,
                where,
                heard,
                folder,
                stalled_after=self._run.tally.policy.stalled_after,
                shares=shares,
            )
        return heard

    def _step_seconds(self, plan: Plan) -> dict[str, float]:
        """Of the trials whose speed is known where they run. A cluster's nodes are asked only for the sake of limits:
        that takes seconds."""
        if self._run.settings.address and not self._run.settings.limits:
            return {}
        try:
            speeds = estimate.Speeds.of(self._run.ledger)
        except StorageError:  # trials run without
            return {}
        return step_times.slowest((entry.trial for entry in plan.to_run), speeds, self._session.machines(plan))

    def _next(self, plan: Plan, heard: RoundListener, shutdown: Shutdown) -> Plan:
        """What the next round runs: what is to be tried again, what goes on from a rung of its tuning, and what another
        sweep has left unfinished."""
        ran = [entry.trial for entry in plan.to_run if entry.trial.id not in heard.rationed]
        again = [trial for trial in ran if self._run.tally.again(trial.id)]
        if pause := self._run.tally.pause([trial.id for trial in again], self._rng):
            self._run.say(f"storage failed; {counted(len(again), 'trial')} tried again in {duration(pause)}")
            shutdown.wait(pause)
        elsewhere = [trial for trial in ran if trial.id in heard.elsewhere]
        trials = [entry.trial for entry in plan.entries]
        following = self._planned(trials, shutdown)
        if elsewhere and not again and not self._promoted(plan, following):
            with suppress(StorageError):
                self._wait_for(elsewhere, shutdown)
            following = self._planned(trials, shutdown)
        ids = {trial.id for trial in (*again, *elsewhere)} | self._promoted(plan, following)
        return planning.among(following, ids - heard.rationed)

    def _promoted(self, before: Plan, now: Plan) -> set[str]:
        """What its tuning has go on since."""
        if self._run.settings.retry_failed:
            return set()
        pauses = {entry.trial.id: entry.trial.pause for entry in before.entries}
        return {entry.trial.id for entry in now.to_run if entry.trial.pause != pauses[entry.trial.id]}

    def _tuned(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The same, each as far as its tuning has it trained by now."""
        if not any(one.rungs for one in self._run.sweep.tuning):
            return trials
        now = {trial.id: trial.pause for trial in chosen(self._run.sweep, self._run.ledger).trials}
        return [replace(trial, pause=now.get(trial.id)) for trial in trials]

    def _planned(self, trials: Sequence[Trial], shutdown: Shutdown) -> Plan:
        """By the ledger. Where that cannot be read it is asked again, as often as a trial that the storage fails."""
        failures = 0
        while True:
            try:
                return planning.make(self._tuned(trials), self._run.ledger)
            except StorageError as error:
                failures += 1
                if shutdown.requested or failures > self._run.tally.policy.storage:
                    raise StorageError(f"{error}; once it can be, the same command goes on") from error
                pause = backoff(failures, self._rng)
                self._run.say(f"{error}; tried again in {duration(pause)}")
                shutdown.wait(pause)

    def _wait_for(self, trials: list[Trial], shutdown: Shutdown) -> None:
        """Until all have ended or the driver of the other sweep has left one of them."""
        names = sorted({other for trial in trials if (other := self._elsewhere(trial))})
        if names:
            self._run.say(f"waiting for {counted(len(trials), 'trial')} that sweep {', '.join(names)} trains now")
        while not shutdown.requested and not self._run.is_spent and all(map(self._elsewhere, trials)):
            trials = [trial for trial in trials if not self._run.ledger.record(trial.id)]
            if not trials or shutdown.wait(ELSEWHERE_SECONDS):
                return

    def _elsewhere(self, trial: Trial) -> str | None:
        return self._run.ledger.elsewhere(trial.id, self._run.sweep.name)
