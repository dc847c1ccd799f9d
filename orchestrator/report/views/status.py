"""Shows where a sweep stands: counts, the time left, what runs where, and each trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.ledger.ledger import Driver
from orchestrator.report.status import STOPPED, SweepStatus, TrialStatus
from orchestrator.report.verdicts.decisions import decision_lines
from orchestrator.report.views.narrow import fitted
from orchestrator.report.views.render import ABSENT, Row, table_of, table_text
from orchestrator.report.views.trial_rows import cell_row
from orchestrator.sweep import tuning
from orchestrator.sweep.trial import TrialState, steps_of
from orchestrator.table import Table, duration
from orchestrator.text import counted, one_line


def status_rows(statuses: Iterable[TrialStatus]) -> list[Row]:
    return [
        {
            **cell_row(status.trial),
            "state": status.standing,
            "step": status.step,
            "steps": steps_of(status.trial.config, status.record),
            "attempts": status.attempts,
            "where": status.place,
            "pause": status.rests,
            "kind": status.kind,
            "failure": status.failure,
        }
        for status in statuses
    ]


def status_text(status: SweepStatus, width: int | None = None) -> str:
    """For people: what is at hand in a few lines, then each trial; ``width`` is that of the table, as wide as it gets
    without one."""
    table = trial_table(status.trials)
    return "\n".join([*status_lines(status), "", table_text(fitted(table, width) if width else table).lstrip("\n")])


def status_lines(status: SweepStatus) -> list[str]:
    """How many trials stand where, how long it takes, what runs where, the last errors, and what tuning has chosen."""
    title = status_title(status.sweep.name, status.trials, status.driver)
    running = [
        f" {one_line(trial.place or 'starting')}: {trial.trial.cell.label}, "
        f"step {trial.step}/{steps_of(trial.trial.config) or ABSENT}"
        for trial in sorted(status.trials, key=lambda trial: trial.place or "")
        if trial.state is TrialState.RUNNING
    ]
    errors = [f" {one_line(error)}" for error in status.told.errors] if status.told else []
    choices = [*tuning.notes(status.sweep.tuning), *decision_lines(status.sweep.deciding, status.added)]
    noted = [f"{counted(status.notes, 'note')}; `orchestrate note` lists them"] if status.notes else []
    return [title, *time_left(status), *noted, *running, *(["last errors:", *errors] if errors else []), *choices]


def trial_table(statuses: Iterable[TrialStatus]) -> Table:
    rows = [
        {
            "id": status.trial.id,
            "trial": status.trial.cell.label,
            "state": status.standing,
            "step": f"{status.step}/{steps_of(status.trial.config, status.record) or ABSENT}",
            "failure": status.failure,
            "kind": status.kind,
            "pause": status.rests,
            "attempts": status.attempts,
            "where": status.place,
        }
        for status in statuses
    ]
    return table_of("", rows)


def time_left(status: SweepStatus) -> Iterator[str]:
    """How long it takes still, and who says so."""
    told, left = status.told, status.seconds_left
    if told and status.driver:
        said = "its driver cannot say yet how long it takes" if left is None else f"{duration(left)} left"
        yield f"{said}; its driver spoke {duration(told.age)} ago"
    elif told:
        before = "" if told.seconds_left is None else f", with {duration(told.seconds_left)} left"
        yield f"its last driver died: it spoke last {duration(told.age)} ago{before}; the same command goes on"
    if not status.driver and left:
        yield f"the rest takes about {duration(left)} on this machine, as the trials took that have ended"


def status_title(sweep: str, statuses: Sequence[TrialStatus], driver: Driver | None) -> str:
    counts = Counter(status.standing for status in statuses)
    states = ", ".join(f"{counts[word]} {word}" for word in (*map(str, TrialState), STOPPED) if counts[word])
    return f"{sweep}: {states}; " + (f"run by {driver}" if driver else "no driver runs it")
