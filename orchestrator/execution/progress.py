"""What a sweep is doing, while it runs: counts, time left, what each running trial has reached.

A live view on a terminal, plain lines elsewhere; on standard error, so that standard output holds the tables alone.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from anytime_core.result import EpochMetrics
from orchestrator.execution.console import styled, tell
from orchestrator.execution.live_view import live_view
from orchestrator.execution.time_left import TimeLeft, Work
from orchestrator.execution.worker import Outcome
from orchestrator.ledger.live_status import Running, StatusSnapshot
from orchestrator.planning.estimate import shape_of
from orchestrator.planning.plan import PlannedTrial, step_work
from orchestrator.redaction import redacted
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.table import duration
from orchestrator.text import one_line

LINE_SECONDS = 30.0
"""Seconds between two plain lines if no trial ends."""
SHOWN_RUNNING = 16
SHOWN_ERRORS = 3
NARROW = 60
"""Columns; a narrower terminal has none for places and errors."""


@dataclass(slots=True)
class _Running:
    """``step`` is the last one that was heard of: a process that dies loses those since its checkpoint."""

    step: int
    place: str = ""
    error: float | None = None


class Progress:
    """Follows the trials of one round; of the others ``kept`` have ended, ``failed`` failed before, ``left`` are not
    run. ``step_seconds`` are those that a step of each is predicted to take; without them it is by the multiply-adds.
    ``standing`` says in lines how the comparisons stand that the sweep is to decide. A context manager."""

    def __init__(
        self,
        planned: Sequence[PlannedTrial],
        kept: int,
        console: Console,
        *,
        failed: int = 0,
        left: int = 0,
        step_seconds: Mapping[str, float] | None = None,
        standing: Sequence[str] = (),
    ) -> None:
        self._trials = {entry.trial.id: entry.trial for entry in planned}
        self._steps = {entry.trial.id: entry.step for entry in planned}
        self._time = TimeLeft({entry.trial.id: _work(entry, step_seconds or {}) for entry in planned})
        self._kept, self._failed, self._standing = kept, failed, list(standing)
        self._total = kept + failed + left + len(self._trials)
        self._running: dict[str, _Running] = {}
        self._ended: Counter[TrialState] = Counter()
        self._errors: deque[str] = deque(maxlen=SHOWN_ERRORS)
        self._last_line = time.monotonic()
        self._console = console
        self._live = live_view(console, self._view)

    def __enter__(self) -> Progress:
        if self._live.can_show:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    # Events

    def started(self, trial_id: str) -> None:
        self._running[trial_id] = _Running(self._steps[trial_id])
        self._time.started(trial_id, time.monotonic())

    def placed(self, trial_id: str, place: str) -> None:
        """Where it runs: its node and device."""
        if running := self._running.get(trial_id):
            running.place = place
            self._time.began(trial_id, time.monotonic())

    def reached(self, trial_id: str, step: int) -> None:
        """Shown, and not counted as done: that is what a checkpoint holds."""
        if running := self._running.get(trial_id):
            trial = self._trials[trial_id]
            running.step = max(running.step, min(step, trial.config.steps))
            self._line_at_times(f"{trial.cell.label}: step {running.step}/{trial.config.steps}")

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        last = epochs[-1]
        if trial_id not in self._running:
            self.started(trial_id)
        if evaluated := [epoch for epoch in epochs if epoch.evaluated]:
            self._running[trial_id].error = evaluated[-1].test_error[-1]
        self._advance(trial_id, last.step)
        self._line_at_times()

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        trial = self._trials[trial_id]
        for note in outcome.notes:
            self._line(f"{trial.cell.label}: {note}")
        self._ended[outcome.state] += 1
        if outcome.state in (TrialState.FINISHED, TrialState.PAUSED):
            self._advance(trial_id, trial.until)
        else:
            self._give_up(trial_id)
        if outcome.state is TrialState.FAILED:
            self._errors.append(f"{trial.cell.label}: {outcome.error}")
        reached = self._stop(trial_id)
        error = f": {_error(reached.error)}" if reached and reached.error is not None else ""
        self._line(f"{outcome.state} {trial.cell.label}" + (f": {outcome.error}" if outcome.error else error))

    def lost(self, trial_id: str, reason: str) -> None:
        self._stop(trial_id)
        self._errors.append(f"{self._trials[trial_id].cell.label}: {reason}")
        self._line(f"lost {self._trials[trial_id].cell.label}: {reason}; starts again from its last checkpoint")

    def left(self, trial_id: str) -> None:
        """It is not run now, or by another."""
        self._stop(trial_id)
        self._give_up(trial_id)

    def _stop(self, trial_id: str) -> _Running | None:
        self._time.stopped(trial_id)
        return self._running.pop(trial_id, None)

    def _give_up(self, trial_id: str) -> None:
        self._time.given_up(trial_id)
        self._steps[trial_id] = self._trials[trial_id].until

    def _advance(self, trial_id: str, step: int) -> None:
        step = min(step, self._trials[trial_id].until)  # an epoch may end a little after the step of a pause
        if step > (before := self._steps[trial_id]):
            self._time.advanced(trial_id, step - before, time.monotonic())
            self._steps[trial_id] = step
            if running := self._running.get(trial_id):
                running.step = max(running.step, step)

    # Views

    @property
    def summary(self) -> str:
        done = self._kept + self._ended[TrialState.FINISHED] + self._ended[TrialState.DIVERGED]
        failed, stopped = self._failed + self._ended[TrialState.FAILED], self._ended[TrialState.INTERRUPTED]
        left = self.seconds_left()
        rest = f", {stopped} interrupted" if stopped else "" if left is None else f", {duration(left)} left"
        paused = f", {self._ended[TrialState.PAUSED]} paused" if self._ended[TrialState.PAUSED] else ""
        return f"{done}/{self._total} done, {len(self._running)} running, {failed} failed{paused}{rest}"

    def seconds_left(self) -> float | None:
        """As long as the rest takes in that order, at the speeds so far; None too early on."""
        return self._time.seconds(time.monotonic())

    def snapshot(self) -> StatusSnapshot:
        """All this for other shells."""
        running = [
            Running(trial_id=trial_id, step=state.step, place=state.place, error=state.error)
            for trial_id, state in list(self._running.items())
        ]
        left, errors = self.seconds_left(), tuple(map(redacted, self._errors))
        return StatusSnapshot(time=time.time(), seconds_left=left, running=tuple(running), errors=errors)

    def _line_at_times(self, event: str = "") -> None:
        """Where the view does not show it."""
        if not self._live.can_show and time.monotonic() - self._last_line > LINE_SECONDS:
            self._line(event)

    def _line(self, event: str) -> None:
        self._last_line, event = time.monotonic(), one_line(event)
        if self._live.can_show:
            if event:
                self._live.console.print(styled(event, "dim"))
        else:
            tell(self._console, f"[{self.summary}] {event}".rstrip())

    def _view(self) -> Group:
        """In the lines that the terminal has: of a low one the counts and the time left are the last to go."""
        width, height = self._console.size
        summary = Text(self.summary, style="bold")
        room = height - len(summary.wrap(self._console, width))
        bar = ProgressBar(total=self._time.work or 1, completed=self._time.work - self._time.left, width=min(40, width))
        below = [summary, bar] if room > 0 else [summary]
        room = max(room - 1, 0)
        errors = list(self._errors)[: room // 2]
        standing = self._standing[: (room - len(errors)) // 2]
        lines = [*map(Text, standing), *(styled(error, "red") for error in errors)]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(self._running_table(min(SHOWN_RUNNING, room - len(lines)), width), *lines, *below)

    def _running_table(self, most: int, width: int) -> Table:
        """A line for each running trial, of which there is room for so many."""
        table = Table.grid(*(Column(no_wrap=True) for _ in range(4 if width >= NARROW else 2)), padding=(0, 2))
        running = sorted(self._running.items(), key=lambda item: item[1].place)
        shown = running if len(running) <= most else running[: max(most - 1, 0)]
        for trial_id, state in shown:
            row = self._running_row(self._trials[trial_id], state)
            table.add_row(*(row if width >= NARROW else row[1:3]))
        if most and len(running) > len(shown):
            more = f"and {len(running) - len(shown)} more"
            table.add_row(*(["", more] if width >= NARROW else [more]))
        return table

    def _running_row(self, trial: Trial, running: _Running) -> tuple[Text, Text, str, str]:
        error = "" if running.error is None else _error(running.error)
        place = styled(running.place or "starting", "dim")
        return place, styled(trial.cell.label), f"step {running.step}/{trial.config.steps}", error


def _error(percent: float) -> str:
    return f"last prediction errs in {percent:.2f} %"


def _work(entry: PlannedTrial, step_seconds: Mapping[str, float]) -> Work:
    config = entry.trial.config
    step = step_seconds.get(entry.trial.id) or step_work(config)
    return Work(steps=max(entry.trial.until - entry.step, 0), step=step, kind=shape_of(config))
