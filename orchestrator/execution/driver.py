"""Runs a sweep: holds its lock, has the scheduler run what the ledger does not hold, and MLflow told.

The same command again is how a sweep goes on after anything: it starts from the ledger each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from rich.console import Console

from orchestrator.errors import RunError
from orchestrator.execution import rest, snapshots
from orchestrator.execution.checks import check_data, check_resources
from orchestrator.execution.closing import Closing, Show
from orchestrator.execution.console import remark, tell
from orchestrator.execution.placing import Session
from orchestrator.execution.rerun import rerun, settle
from orchestrator.execution.retry_loop import RetryLoop
from orchestrator.execution.sweep_run import SweepRun, SweepSettings, troubles
from orchestrator.ledger import last_run, needs
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import Plan
from orchestrator.report import publish
from orchestrator.report.losses import Losses
from orchestrator.report.verdicts.decisions import in_words
from orchestrator.sweep import tuning
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.limits import Spending
from orchestrator.sweep.notify import Notifier
from orchestrator.sweep.retries import FailureTally
from orchestrator.system.hardware import Node
from orchestrator.text import counted
from orchestrator.tracking.delivered import is_current, last_trials, run_links
from orchestrator.tracking.tracker import Tracker

__all__ = ["Ended", "SweepSettings", "report_folder", "run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """``troubles`` is what went wrong, in words for the user; ``page`` the report, None where it was not written."""

    troubles: list[str]
    page: Path | None

    def check(self) -> None:
        """Raises RunError where something went wrong."""
        if self.troubles:
            raise RunError("\n".join(self.troubles))


def run(sweep: Sweep, settings: SweepSettings, console: Console, show: Show = lambda sweep: None) -> Ended:
    """Runs what is left of a sweep; the ledger holds what it gave. ``show`` is handed the sweep to show its tables,
    once, as soon as no trial is left: what follows takes seconds, and costs nobody the tables.

    Raises StorageError, HeldError, UsageError, ClusterError, and what ``show`` raises.
    """
    ledger = Ledger(settings.storage)
    closing = Closing(ledger, show, partial(remark, console))
    ended = _run(sweep, settings, console, ledger, closing)
    closing.show(chosen(sweep, ledger))
    closing.check()
    return ended


def _run(sweep: Sweep, settings: SweepSettings, console: Console, ledger: Ledger, closing: Closing) -> Ended:
    say = partial(remark, console)
    ledger.make()
    driver, notify = uuid4().hex, settings.notify or sweep.notify
    with ledger.drive(sweep.name, driver), Notifier(notify, sweep.name, say) as notifier:
        before = last_trials(ledger, sweep.name)
        needs.declare(sweep, ledger)
        needs.wait(ledger, say, settings.limits.until)
        sweep = chosen(sweep, ledger)
        under_way = SweepRun(
            sweep=sweep,
            settings=settings,
            ledger=ledger,
            tally=(tally := FailureTally(sweep.retries)),
            tracker=Tracker(settings.tracking_uri, sweep, ledger, say),
            console=console,
            notifier=notifier,
            driver=driver,
            snapshot=snapshots.kept(ledger) if settings.snapshot else "",  # now that nobody takes it away
            spending=Spending(settings.limits, time.time()),
        )
        if ended := _rerun(under_way):
            return ended
        under_way = _with(under_way, sweep := chosen(sweep, ledger))
        plan = _planned(sweep, settings, ledger, console)
        _note_other_trials(sweep, before, ledger, say)
        last_run.remember(sweep, ledger)
        if not plan.to_run and _is_shown(sweep, settings, ledger):
            wrong = troubles(planning.make(sweep.trials, ledger), tally, settings.command)
            return Ended(troubles=wrong, page=report_folder(ledger, sweep) / publish.PAGE)
        with Session(sweep.name, settings, ledger, say) as session:
            stopped = _train(under_way, plan, session, closing)
            while not stopped and not under_way.is_spent and (following := _following(under_way)):
                under_way, plan = following
                stopped = _train(under_way, plan, session, closing)
        return _ended(replace(under_way, sweep=chosen(sweep, ledger)), closing, session.nodes, stopped=stopped)


def _with(run: SweepRun, sweep: Sweep) -> SweepRun:
    """The same command on what tuning has made of its sweep."""
    return replace(run, sweep=sweep, tracker=Tracker(run.settings.tracking_uri, sweep, run.ledger, run.say))


def _rerun(run: SweepRun) -> Ended | None:
    """Trains again what is to be, and finishes what an earlier command was doing of that. None where there is no more
    of it, and the command goes on."""
    left = set(run.settings.rerun).difference(settle(run))
    if not left:
        return None
    stopped, wrong = rerun(run, left)
    if not stopped and not wrong:
        return None
    run.notifier.tell("stopped" if stopped else "failed", "\n".join(wrong))
    return Ended(troubles=wrong, page=None)


def _train(run: SweepRun, plan: Plan, session: Session, closing: Closing) -> bool:
    """Trains what is to run, and has MLflow told of all. Whether it was told to stop."""
    if plan.to_run:
        check_resources(plan, run.settings)
        check_data(plan, run.sweep.own_data, run.settings)
    with run.tracker:
        return bool(plan.to_run) and RetryLoop(run, session, partial(closing.begin, run.sweep)).run(plan)


def _following(run: SweepRun) -> tuple[SweepRun, Plan] | None:
    """The stage after one that has ended: what tuning has chosen since, and the seeds that open comparisons need. None
    where that is nothing."""
    sweep, settings, ledger = chosen(run.sweep, run.ledger), run.settings, run.ledger
    _tell_decisions(run, sweep)
    if not (new := set(sweep.ids).difference(run.sweep.ids)):
        return None
    for note in tuning.notes(sweep.tuning):
        run.say(note)
    last_run.remember(sweep, ledger)
    plan = planning.make(planning.sized(sweep.trials, cpus=settings.cpus, gpus=settings.gpus), ledger)
    return _with(run, sweep), planning.among(plan, () if settings.retry_failed else new)


def _tell_decisions(run: SweepRun, now: Sweep) -> None:
    """Says how the comparisons of the sweep stand, and notifies of those that the last round has closed."""
    if not run.sweep.deciding or not now.deciding:
        return
    before = {it.comparison for it in run.sweep.deciding.standings if it.is_open}
    for it in now.deciding.standings:
        if it.comparison in before:
            words = f"{it.comparison}: {in_words(it, now.deciding)}"
            run.say(words)
            if not it.is_open:
                run.notifier.tell("decided", words)


def _planned(sweep: Sweep, settings: SweepSettings, ledger: Ledger, console: Console) -> Plan:
    """What is to run now; prints a line on it."""
    plan = planning.make(planning.sized(sweep.trials, cpus=settings.cpus, gpus=settings.gpus), ledger)
    if settings.retry_failed:
        plan = planning.only_failed(plan)
        if not plan.to_run:
            remark(console, "no trial has failed: there is nothing to retry")
    tell(console, f"{sweep.name}: {planning.summary(plan)}; storage: {ledger.storage}")
    if any(entry.trial.config.training.compiled for entry in plan.to_run):
        remark(console, "networks are compiled first: minutes, for what this machine has not compiled before")
    return plan


def _note_other_trials(sweep: Sweep, before: list[str], ledger: Ledger, say: Callable[[str], object]) -> None:
    """Says before it happens that this sweep takes the place of another of its name, which had other trials
    ``before``."""
    now = needs.ids_of(sweep)
    if not now.issuperset(before):
        kept = len(now.intersection(before))
        shared = f"{kept} of its {counted(len(before), 'trial')} {'is' if kept == 1 else 'are'} in this one"
        say(
            f"the last sweep named {sweep.name} had other trials: {shared}. This sweep replaces its report, "
            f"{report_folder(ledger, sweep)}, and its summary in MLflow; results and runs of its trials stay, "
            "those that are out of the sweep by the name `dropped: ...`. "
            "To keep both reports, give this sweep another name"
        )


def _is_shown(sweep: Sweep, settings: SweepSettings, ledger: Ledger) -> bool:
    """Whether the report and MLflow hold what the ledger does."""
    reported = (report_folder(ledger, sweep) / publish.PAGE).exists()
    return reported and is_current(ledger, sweep, settings.tracking_uri)


def _ended(run: SweepRun, closing: Closing, nodes: Sequence[Node], *, stopped: bool) -> Ended:
    """Shows and publishes what there is, and notifies. ``nodes`` are those of the cluster that was given."""
    limited, losses = rest.words(run, nodes), Losses()
    wrong = [*run.troubles(), *limited]
    closing.show(run.sweep)
    # Whoever stops a sweep does not wait for figures.
    page = None if stopped else _publish(run, losses, closing.drawing)
    wrong += losses.lines + run.tracker.troubles()
    whole = [trial for trial in run.sweep.trials if not trial.pause]  # others were stopped by their tuning
    words = "\n".join(wrong) or f"all {len(whole)} trials have ended"
    wished = stopped or (limited and not run.tally.failures and not losses)
    run.notifier.tell("stopped" if wished else "failed" if wrong else "finished", words)
    return Ended(troubles=wrong, page=page)


def _publish(run: SweepRun, losses: Losses, drawing: publish.Drawing | None) -> Path | None:
    """Leaves the report in the sweep's folder, in the storage and in MLflow. Returns the page, where there is one."""
    sweep, ledger = run.sweep, run.ledger
    folder, tables = report_folder(ledger, sweep), None
    with losses.counted("the report is not written"):
        links = run_links(ledger, sweep.name)
        place = ledger.sweep_files(sweep.name).below(folder.name)
        tables = publish.write(sweep, ledger, place, links, run.say, losses=losses, drawing=drawing, over=True)
    if tables is None:
        return None
    with losses.counted("the storage lacks the report"):
        ledger.publish(folder)
    run.tracker.summarise(folder, publish.headline(tables), whole=not losses)
    return folder / publish.PAGE if (folder / publish.PAGE).exists() else None


def report_folder(ledger: Ledger, sweep: Sweep) -> Path:
    """Where a sweep leaves its tables and figures."""
    return ledger.sweep_folder(sweep.name) / "report"
