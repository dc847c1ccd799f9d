"""Runs a sweep: holds its lock, has the scheduler run what the ledger does not hold, and MLflow told.

The same command again is how a sweep goes on after anything: it starts from the ledger each time.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from anytime_core.data import cache
from anytime_core.errors import DataError
from anytime_core.result import EpochMetrics
from orchestrator.errors import StorageError, UsageError
from orchestrator.execution.progress import Progress
from orchestrator.execution.worker import Outcome, WorkerContext
from orchestrator.ledger.ledger import Ledger, SupersededError
from orchestrator.ledger.live_status import StatusWriter
from orchestrator.ledger.storage import Location
from orchestrator.planning import estimate, packing
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import Plan, PlannedTrial
from orchestrator.report import publish
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.notify import Notifier, Notify
from orchestrator.sweep.retries import Failed, FailureKind, FailureTally, Holds, backoff, without_numbers
from orchestrator.sweep.trial import AUTO, Trial, TrialState
from orchestrator.system.environment import prepare_ray
from orchestrator.system.provenance import code_version
from orchestrator.system.shutdown import Shutdown
from orchestrator.table import duration
from orchestrator.text import counted
from orchestrator.tracking.store import safe_uri
from orchestrator.tracking.tracker import Tracker, is_current, run_links


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSettings:
    """Where things are and how much a trial may use: nothing that changes a number."""

    storage: Location
    data_root: Path
    tracking_uri: str
    address: str | None = None
    check_md5: bool = True
    cpus: int | None = None
    gpus: float | str | None = None
    retry_failed: bool = False
    notify: Notify | None = None
    command: str = ""
    """How the user called it, to be said where it is to be given again."""


ELSEWHERE_SECONDS = 1.0
"""Between two looks at trials that another sweep runs."""


def run(sweep: Sweep, settings: SweepSettings, console: Console) -> list[str]:
    """Runs what is left of a sweep. Returns what went wrong, in words for the user; the ledger holds the rest.

    Raises StorageError, HeldError, UsageError, ClusterError.
    """
    ledger = Ledger(settings.storage)
    ledger.make()
    say = partial(console.print, style="yellow", highlight=False, markup=False, soft_wrap=True)
    with (
        ledger.drive(sweep.name) as folder,
        Notifier(settings.notify or sweep.notify, sweep.name, say) as notifier,
    ):
        plan = planning.make(planning.sized(sweep.trials, cpus=settings.cpus, gpus=settings.gpus), ledger)
        if settings.retry_failed:
            plan = planning.only_failed(plan)
            if not plan.to_run:
                say("no trial has failed: there is nothing to retry")
        console.print(
            f"{sweep.name}: {planning.summary(plan)}; storage: {ledger.storage}", highlight=False, soft_wrap=True
        )
        if any(entry.trial.config.training.compiled for entry in plan.to_run):
            say("networks are compiled first: minutes, for what this machine has not compiled before")
        reported = (report_folder(ledger, sweep) / publish.PAGE).exists()
        if not plan.to_run and reported and is_current(ledger, sweep, settings.tracking_uri):
            return _troubles(planning.make(sweep.trials, ledger), FailureTally(sweep.retries), settings.command)
        if plan.to_run:
            _check_resources(plan, settings)
            _check_data(plan, settings)
        tally = FailureTally(sweep.retries)
        stopped = False
        with Tracker(settings.tracking_uri, sweep, ledger, say) as tracker:
            if plan.to_run:
                stopped = _Rounds(sweep, settings, ledger, tally, tracker, console, say, notifier).run(plan, folder)
        troubles = _troubles(planning.make(sweep.trials, ledger), tally, settings.command)
        if not stopped:  # whoever stops a sweep does not wait for figures
            troubles += _publish(sweep, ledger, settings, tracker, say)
        troubles += _tracking_troubles(tracker, settings)
        words = "\n".join(troubles) or f"all {len(sweep.trials)} trials have ended"
        notifier.tell("stopped" if stopped else "failed" if troubles else "finished", words)
        return troubles


def _publish(
    sweep: Sweep, ledger: Ledger, settings: SweepSettings, tracker: Tracker, say: Callable[[str], object]
) -> list[str]:
    """Leaves the report in the sweep's folder and in MLflow, and says what it lacks. Returns why it could not."""
    folder, links = report_folder(ledger, sweep), run_links(ledger, sweep.name, settings.tracking_uri)
    try:
        tables = publish.write(sweep, ledger, folder, links, say)
    except OSError as error:
        return [f"{folder}: the report cannot be written: {error.strerror or error}"]
    ledger.publish(folder)
    tracker.summarise(folder, publish.headline(tables))
    return []


def report_folder(ledger: Ledger, sweep: Sweep) -> Path:
    """Where a sweep leaves its tables and figures."""
    return ledger.sweep_folder(sweep.name) / "report"


def _check_resources(plan: Plan, settings: SweepSettings) -> None:
    """Raises ClusterError for what this machine cannot have, before anything starts. What a cluster has, it is asked
    once it is there, and so is a machine whose GPUs nvidia-smi does not know."""
    if not settings.address and not Path("/dev/kfd").exists():
        trials = [entry.trial for entry in plan.to_run]
        packing.refuse(trials, [estimate.here(trials)])


def _check_data(plan: Plan, settings: SweepSettings) -> None:
    """Reads each data set once, which also converts it for the workers. Raises UsageError with all that is wrong."""
    faults = []
    for name in sorted({entry.trial.config.data.name for entry in plan.to_run}):
        try:
            cache.load(name, settings.data_root, check_md5=settings.check_md5)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))


class _Rounds:
    """Runs trials, and those again that the sweep's policy says, until there is none of them left."""

    def __init__(
        self,
        sweep: Sweep,
        settings: SweepSettings,
        ledger: Ledger,
        tally: FailureTally,
        tracker: Tracker,
        console: Console,
        say: Callable[[str], object],
        notifier: Notifier,
    ) -> None:
        self._notifier = notifier
        self._sweep, self._settings, self._ledger, self._tally = sweep, settings, ledger, tally
        self._tracker, self._console, self._say = tracker, console, say
        self._rng = random.Random()  # of pauses alone: commands that failed together must not come back together

    def run(self, plan: Plan, folder: Path) -> bool:
        """Whether it was told to stop."""
        prepare_ray(own_cluster=self._settings.address is None)
        from orchestrator.cluster.session import cluster
        from orchestrator.execution import scheduler

        whole = [entry.trial for entry in plan.entries]
        lost = partial(self._end_without_head, whole)
        with cluster(self._settings.address, folder / "ray.log", lost), Shutdown(self._say) as shutdown:
            plan = self._packed(plan)
            scheduler.check_fits({entry.trial.resources for entry in plan.to_run})
            while plan.to_run and not shutdown.requested:
                heard = self._round(plan, shutdown, folder)
                plan = self._next(plan, heard, shutdown)
        return shutdown.requested

    def _packed(self, plan: Plan) -> Plan:
        """With the shares of a GPU that trials are given which leave that open."""
        if not any(entry.trial.resources.gpus == AUTO for entry in plan.to_run):
            return plan
        from orchestrator.cluster import nodes

        packed = packing.pack(plan, nodes.machines(), estimate.Speeds.of(self._ledger))
        for note in packed.notes:
            self._say(note)
        return packed.plan

    def _end_without_head(self, trials: Sequence[Trial]) -> NoReturn:
        """From a thread: the main one waits for Ray, which will not answer and soon end the process by itself."""
        say = partial(self._console.print, highlight=False, markup=False, soft_wrap=True)
        try:
            say("error: the head node of the Ray cluster is gone")
            for line in _troubles(planning.make(trials, self._ledger), self._tally, self._settings.command):
                say(line)
            self._notifier.tell("failed", "the head node of the Ray cluster is gone; the same command goes on")
            self._tracker.__exit__()  # delivers; slow where MLflow is gone too
            for line in _tracking_troubles(self._tracker, self._settings):
                say(line)
            self._notifier.wait()
        finally:
            os._exit(1)

    def _round(self, plan: Plan, shutdown: Shutdown, folder: Path) -> _Round:
        from orchestrator.execution import scheduler

        settings = self._settings
        where = WorkerContext(
            storage=self._ledger.storage,
            data_root=settings.data_root.absolute(),
            check_md5=settings.check_md5,
            code_version=code_version(),
            sweep=self._sweep.name,
            checkpoint_share=self._tally.policy.checkpoint_share,
        )
        trials = [entry.trial for entry in plan.to_run]
        left = [entry.trial.id for entry in plan.entries if entry.action == "leave"]
        failed = sum(trial_id in self._tally.failures for trial_id in left)
        counts = {"kept": plan.actions["keep"], "failed": failed, "left": len(left) - failed}
        with (
            Progress(plan.to_run, console=self._console, **counts, step_seconds=self._step_seconds(plan)) as progress,
            StatusWriter(self._ledger, self._sweep.name, progress.snapshot),
        ):
            heard = _Round(
                plan.to_run, self._ledger, self._tally, progress, self._tracker, shutdown, self._say, self._notifier
            )
            scheduler.run_round(
                trials,
                where,
                heard,
                folder / "tune",
                stalled_after=self._tally.policy.stalled_after,
                shares={trial.id: self._tally.share(trial.id) for trial in trials},
            )
        return heard

    def _step_seconds(self, plan: Plan) -> dict[str, float]:
        """Of each trial, on this machine; nothing where that of one is not known."""
        if self._settings.address:
            return {}
        try:
            speeds = estimate.Speeds.of(self._ledger)
        except StorageError:  # trials run without
            return {}
        here = [estimate.here(entry.trial for entry in plan.to_run)]
        steps = {
            entry.trial.id: speeds.step(entry.trial.config, estimate.device_for(entry.trial.resources, here)).value
            for entry in plan.to_run
        }
        return {trial_id: step for trial_id, step in steps.items() if step} if all(steps.values()) else {}

    def _next(self, plan: Plan, heard: _Round, shutdown: Shutdown) -> Plan:
        """What the next round runs: what is to be tried again, and what another sweep has left unfinished."""
        again = [entry.trial for entry in plan.to_run if self._tally.again(entry.trial.id)]
        if pause := self._tally.pause([trial.id for trial in again], self._rng):
            self._say(f"storage failed; {counted(len(again), 'trial')} tried again in {duration(pause)}")
            shutdown.wait(pause)
        elsewhere = [entry.trial for entry in plan.to_run if entry.trial.id in heard.elsewhere]
        if not again and elsewhere:
            with suppress(StorageError):
                self._wait_for(elsewhere, shutdown)
        chosen = {trial.id for trial in (*again, *elsewhere)}
        return planning.among(self._planned([entry.trial for entry in plan.entries], shutdown), chosen)

    def _planned(self, trials: Sequence[Trial], shutdown: Shutdown) -> Plan:
        """By the ledger. Where that cannot be read it is asked again, as often as a trial that the storage fails."""
        failures = 0
        while True:
            try:
                return planning.make(trials, self._ledger)
            except StorageError as error:
                failures += 1
                if shutdown.requested or failures > self._tally.policy.storage:
                    raise StorageError(f"{error}; once it can be, the same command goes on") from error
                pause = backoff(failures, self._rng)
                self._say(f"{error}; tried again in {duration(pause)}")
                shutdown.wait(pause)

    def _wait_for(self, trials: list[Trial], shutdown: Shutdown) -> None:
        """Until all have ended or the driver of the other sweep has left one of them."""
        names = sorted({other for trial in trials if (other := self._elsewhere(trial))})
        if names:
            self._say(f"waiting for {counted(len(trials), 'trial')} that sweep {', '.join(names)} trains now")
        while not shutdown.requested and all(self._elsewhere(trial) for trial in trials):
            trials = [trial for trial in trials if not self._ledger.record(trial.id)]
            if not trials or shutdown.wait(ELSEWHERE_SECONDS):
                return

    def _elsewhere(self, trial: Trial) -> str | None:
        return self._ledger.elsewhere(trial.id, self._sweep.name)


class _Round:
    """Tells the terminal and MLflow what happens, counts what fails, and says what is not to be begun."""

    def __init__(
        self,
        planned: Sequence[PlannedTrial],
        ledger: Ledger,
        tally: FailureTally,
        progress: Progress,
        tracker: Tracker,
        shutdown: Shutdown,
        say: Callable[[str], object],
        notifier: Notifier,
    ) -> None:
        self._notifier = notifier
        self.elsewhere: set[str] = set()
        """The trials that another sweep trains now."""
        self._trials = {entry.trial.id: entry.trial for entry in planned}
        self._ledger, self._tally, self._progress, self._tracker = ledger, tally, progress, tracker
        self._shutdown, self._say = shutdown, say
        self._waiting: set[str] = set()

    @property
    def holds(self) -> Holds:
        return Holds(
            everything=self._shutdown.requested,
            methods=frozenset(self._tally.stopped),
            trials=frozenset(self._waiting),
        )

    @property
    def overdue(self) -> bool:
        return self._shutdown.overdue

    def started(self, trial_id: str) -> None:
        if not self.holds.cover(trial_id, self._trials[trial_id].cell.method):
            self._progress.started(trial_id)
            self._tracker.started(trial_id)

    def placed(self, trial_id: str) -> None:
        with suppress(StorageError):
            if attempt := self._ledger.attempt(trial_id):
                self._progress.placed(trial_id, attempt.place)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        self._progress.progressed(trial_id, epochs)
        self._tracker.progressed(trial_id, epochs)

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        match outcome.state:
            case TrialState.RUNNING:
                self.elsewhere.add(trial_id)
                self._progress.left(trial_id)
            case TrialState.PENDING:
                self._progress.left(trial_id)
            case _:
                self._count(trial_id, outcome)
                self._progress.ended(trial_id, outcome)
                self._tracker.ended(trial_id, outcome.state)

    def _count(self, trial_id: str, outcome: Outcome) -> None:
        if outcome.state is TrialState.FAILED:
            failed = Failed(
                kind=outcome.kind or FailureKind.BUG, error=outcome.error or "", signature=outcome.signature
            )
            self._failed(trial_id, failed)
        elif outcome.state is TrialState.INTERRUPTED and not self._shutdown.requested:  # another took it over
            self._failed(trial_id, Failed(kind=FailureKind.LOST, error=outcome.error or "", signature="superseded"))
        elif outcome.state.ended:
            self._tally.mended(trial_id)

    def _failed(self, trial_id: str, failure: Failed) -> None:
        method, stopped = self._trials[trial_id].cell.method, len(self._tally.stopped)
        self._tally.failed(trial_id, method, failure)
        if len(self._tally.stopped) > stopped:
            words = f"no more trials of {method} are begun: {self._tally.policy.same_failure} failed in the same way"
            self._say(words)
            self._notifier.tell("method stopped", f"{words}: {failure.error}")

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None:
        """A trial whose process died starts again at once, unless it needs more memory or does so again and again."""
        if trial_id in self._waiting:  # it died again before it could ask
            return
        if kind is FailureKind.LOST and self._tally.lost(trial_id, self._step(trial_id)):
            self._progress.lost(trial_id, reason)
            self._tracker.ended(trial_id, TrialState.INTERRUPTED)
            return
        if kind is FailureKind.LOST:
            times = self._tally.restarts(trial_id)
            reason, kind = f"{reason}, {times} times in a row without a new checkpoint", FailureKind.BUG
        self._waiting.add(trial_id)
        failure = Failed(kind=kind, error=reason, signature=without_numbers(reason))
        self._write_down(trial_id, failure)
        self.ended(trial_id, Outcome(TrialState.FAILED, reason, kind, signature=failure.signature))

    def waits(self, reason: str) -> None:
        self._say(f"no trial runs: {reason}")

    def _step(self, trial_id: str) -> int:
        """Of its newest checkpoint; as if there were none where that cannot be read now."""
        with suppress(StorageError):
            return self._ledger.step(trial_id)
        return 0

    def _write_down(self, trial_id: str, failure: Failed) -> None:
        """In the place of the worker, which is dead."""
        try:
            if attempt := self._ledger.attempt(trial_id):
                self._ledger.fail(attempt, failure.error, kind=failure.kind, signature=failure.signature)
        except (OSError, StorageError, SupersededError):
            self._say(f"{self._trials[trial_id].cell.label}: its failure could not be written down")


def _troubles(plan: Plan, tally: FailureTally, command: str) -> list[str]:
    """What has not ended, and why: a line for each cause; and how to go on."""
    if not plan.to_run:
        return []
    lines = [f"{len(plan.to_run)} of {len(plan.entries)} trials have not ended; the same command goes on with them"]
    lines += [f"  {command}"] if command else []
    causes: dict[str, list[tuple[PlannedTrial, str]]] = defaultdict(list)
    for entry in plan.to_run:
        cause, words = _cause(entry, tally)
        causes[cause].append((entry, words))
    for found in sorted(causes.values(), key=len, reverse=True):
        entry, words = found[0]
        such = "" if len(found) == 1 else f"{len(found)} trials, such as "
        lines.append(f"  {such}{entry.trial.cell.label} ({entry.trial.id}): {words}")
    if command and (tally.failures or any(entry.failure for entry in plan.to_run)):
        lines += ["the failed ones alone are tried again by", f"  {command} --retry-failed"]
    return lines


def _cause(entry: PlannedTrial, tally: FailureTally) -> tuple[str, str]:
    """What a trial has in common with others that have not ended, and the words for it."""
    method = entry.trial.cell.method
    if failure := tally.failures.get(entry.trial.id):  # which may not have been written down
        return f"{failure.kind} {failure.signature}", planning.failed(failure, entry.step, entry.trial)
    if entry.failure:
        return f"{entry.failure.kind} {entry.failure.signature}", entry.reason
    if entry.action == "run" and method in tally.stopped:
        return f"held {method}", f"not begun: too many of {method} failed in the same way"
    return entry.action, entry.reason


def _tracking_troubles(tracker: Tracker, settings: SweepSettings) -> list[str]:
    if not tracker.behind and not tracker.outage:
        return []
    uri = safe_uri(settings.tracking_uri)
    what = f"{len(tracker.behind)} trials" if tracker.behind else "the report"
    return [f"MLflow at {uri} lacks {what}: {tracker.outage}; once it can be told, the same command does so"]
