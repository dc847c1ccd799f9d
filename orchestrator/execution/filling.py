"""Has the outcomes written of trials that ended without them, or whose file is damaged, on Ray as a sweep runs.

It holds no lock: whoever writes a trial's outcomes writes the same, and the file appears whole. So two commands at once
do some of the work twice and no harm, and a sweep may run at the same time.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from rich.console import Console

from orchestrator.execution.checks import check_data, check_resources
from orchestrator.execution.console import remark, tell
from orchestrator.execution.fill_listener import FillListener
from orchestrator.execution.outcomes import fill_trial
from orchestrator.execution.placing import Session, worker_context
from orchestrator.execution.sweep_run import RunSettings
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import Plan, PlannedTrial
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.retries import Failed, FailureTally
from orchestrator.sweep.trial import AUTO, Resources, Trial, TrialRecord, TrialState
from orchestrator.system.shutdown import Shutdown
from orchestrator.table import duration
from orchestrator.text import counted

STOPPING = "stopping; what is written stays (ctrl-C again stops at once)"


class Kept(StrEnum):
    """What became of a trial's outcomes."""

    THERE = "there"
    WRITTEN = "written"
    PENDING = "not finished"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """``failure`` is why they could not be written."""

    trial: Trial
    state: Kept
    failure: Failed | None = None


def fill(sweep: Sweep, settings: RunSettings, console: Console) -> list[Filled]:
    """What became of the outcomes of each trial. Starts nothing where none are missing.

    Raises StorageError, UsageError, ClusterError; KeyboardInterrupt once a stop that was asked for has been made.
    """
    ledger = Ledger(settings.storage)
    records = ledger.records(trial.id for trial in sweep.trials)
    finished = {name: record for name, record in records.items() if record.state is TrialState.FINISHED}
    with console.status("reading outcomes"):  # which takes 15 ms for 27 predictions of 10,000 images
        lacking = ledger.lacking_outcomes(finished)
    plan = _planned(sweep, settings, {name: finished[name] for name in lacking})
    filling = _Filling(sweep, settings, ledger, console)
    if plan.to_run:
        filling.run(plan)
    missing = {entry.trial.id for entry in plan.to_run}

    def state(trial_id: str) -> Kept:
        if trial_id in missing:
            return Kept.WRITTEN if trial_id in filling.written else Kept.FAILED
        return Kept.THERE if trial_id in finished else Kept.PENDING

    return [
        Filled(trial=trial, state=state(trial.id), failure=filling.failures.get(trial.id)) for trial in sweep.trials
    ]


def troubles(found: Sequence[Filled]) -> list[str]:
    """What could not be written, and why: a line for each cause."""
    failed, causes = [it for it in found if it.state is Kept.FAILED], defaultdict[str, list[Filled]](list)
    for filled in failed:
        causes[filled.failure.signature if filled.failure else ""].append(filled)
    lines = [f"{len(failed)} of {len(found)} trials lack outcomes; the same command tries them again"] if failed else []
    for cases in sorted(causes.values(), key=len, reverse=True):
        trial, such = cases[0].trial, "" if len(cases) == 1 else f"{len(cases)} trials, such as "
        why = cases[0].failure.error if cases[0].failure else "not begun"
        lines.append(f"  {such}{trial.cell.label} ({trial.id}): {why}")
    return lines


def _planned(sweep: Sweep, settings: RunSettings, records: Mapping[str, TrialRecord]) -> Plan:
    """The trials of these records, the costliest networks first."""
    entries = [
        PlannedTrial(
            trial=_as_trained(trial, records[trial.id], settings),
            action="run",
            reason="its outcomes are missing",
            step=trial.config.steps,
            work=records[trial.id].result.costs[-1],
        )
        for trial in planning.sized(sweep.trials, cpus=settings.cpus, gpus=settings.gpus)
        if trial.id in records
    ]
    return Plan(entries=tuple(sorted(entries, key=lambda entry: -entry.work)))


def _as_trained(trial: Trial, record: TrialRecord, settings: RunSettings) -> Trial:
    """On the kind of device that it was trained on, and with as many CPUs as it had threads, where the user has not
    given others: those may give other bits."""
    cpus, gpus = trial.resources.cpus, trial.resources.gpus
    if settings.cpus is None and isinstance(threads := record.provenance.get("threads"), int):
        cpus = max(threads, 1)
    if settings.gpus is None:
        gpus = 0.0 if record.result.device == "cpu" else gpus or AUTO
    return replace(trial, resources=Resources(cpus=cpus, gpus=gpus))


class _Filling:
    """Runs rounds over what is missing until the sweep's policy has none left to try again."""

    def __init__(self, sweep: Sweep, settings: RunSettings, ledger: Ledger, console: Console) -> None:
        self._sweep, self._settings, self._ledger, self._console = sweep, settings, ledger, console
        self._tally, self._rng = FailureTally(sweep.retries), random.Random()  # of pauses alone
        self._say = partial(remark, console)
        self.written: set[str] = set()

    @property
    def failures(self) -> Mapping[str, Failed]:
        return self._tally.failures

    def run(self, plan: Plan) -> None:
        """Raises KeyboardInterrupt where it was told to stop."""
        sweep, settings, ledger = self._sweep, self._settings, self._ledger
        trials = counted(len(plan.to_run), "trial")
        tell(self._console, f"{sweep.name}: outcomes of {trials} are missing; storage: {ledger.storage}")
        check_resources(plan, settings)
        check_data(plan, sweep.own_data, settings)
        with Session(sweep.name, settings, ledger, self._say) as session:
            plan = session.place(plan, self._end_without_head)  # Ray takes signal handlers away: ours come after
            with (
                Shutdown(self._say, STOPPING) as shutdown,
                TemporaryDirectory(prefix="orchestrate-") as private,  # Tune pickles what it notes of a round
            ):
                self._rounds([entry.trial for entry in plan.to_run], shutdown, Path(private) / "tune")
        if shutdown.requested:
            raise KeyboardInterrupt

    def _rounds(self, trials: list[Trial], shutdown: Shutdown, folder: Path) -> None:
        from orchestrator.execution import scheduler

        where = worker_context(self._sweep, self._settings, self._ledger)
        with FillListener(trials, self._tally, shutdown, self._console) as heard:
            self.written = heard.written
            while trials and not shutdown.requested:
                heard.next_round()
                scheduler.run_round(
                    trials,
                    where,
                    heard,
                    folder,
                    stalled_after=self._tally.policy.stalled_after,
                    shares={trial.id: self._tally.share(trial.id) for trial in trials},
                    work=fill_trial,
                )
                trials = self._again(trials, shutdown)

    def _again(self, trials: list[Trial], shutdown: Shutdown) -> list[Trial]:
        """Those that may go well on another try; after a pause, where the storage failed."""
        again = [trial for trial in trials if self._tally.again(trial.id)]
        if pause := self._tally.pause([trial.id for trial in again], self._rng):
            self._say(f"storage failed; {counted(len(again), 'trial')} tried again in {duration(pause)}")
            shutdown.wait(pause)
        return again

    def _end_without_head(self) -> NoReturn:
        """From a thread: the main one waits for Ray, which will not answer."""
        try:
            tell(self._console, "error: the head node of the Ray cluster is gone; the same command goes on")
        finally:
            os._exit(1)
