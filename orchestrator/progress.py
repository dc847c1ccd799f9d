"""What a sweep is doing, while it runs: counts, time left, what each running trial has reached.

A live view on a terminal, plain lines elsewhere; on standard error, so that standard output holds the tables alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anytime_core.result import EpochMetrics
from orchestrator.plan import PlannedTrial, training_work
from orchestrator.table import duration
from orchestrator.trial import Trial, TrialState
from orchestrator.worker import Outcome

LINE_SECONDS = 30.0
"""Seconds between two plain lines if no trial ends."""
SHOWN_RUNNING = 16
SURE_AFTER = 0.02
"""The time left is told once this share of the work is done."""


@dataclass(slots=True)
class _Running:
    """``since`` is the moment up to which its work is counted."""

    step: int
    since: float
    error: float | None = None


class Progress:
    """Follows the trials of one round; of the others ``kept`` have ended, ``failed`` failed before, ``left`` are not
    run. A context manager."""

    def __init__(
        self, planned: Sequence[PlannedTrial], kept: int, console: Console, *, failed: int = 0, left: int = 0
    ) -> None:
        self._trials = {entry.trial.id: entry.trial for entry in planned}
        self._steps = {entry.trial.id: entry.step for entry in planned}
        self._work_of_step = {entry.trial.id: training_work(entry.trial, 1) for entry in planned}
        self._work = sum(entry.work for entry in planned)
        self._left = self._work
        self._kept, self._failed = kept, failed
        self._total = kept + failed + left + len(self._trials)
        self._running: dict[str, _Running] = {}
        self._ended: Counter[TrialState] = Counter()
        self._widest = 0  # the most trials that ran at once
        self._busy = 0.0  # the trial-seconds in which the work that is counted was done
        self._last_line = time.monotonic()
        self._console = console
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    # Events

    def started(self, trial_id: str) -> None:
        self._running[trial_id] = _Running(self._steps[trial_id], time.monotonic())
        self._widest = max(self._widest, len(self._running))

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        last = epochs[-1]
        if trial_id not in self._running:
            self.started(trial_id)
        self._running[trial_id].error = last.test_error[-1]
        self._advance(trial_id, last.step)
        if time.monotonic() - self._last_line > LINE_SECONDS:
            self._line("")

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        trial = self._trials[trial_id]
        for note in outcome.notes:
            self._line(f"{trial.cell.label}: {note}")
        self._ended[outcome.state] += 1
        if outcome.state is TrialState.FINISHED:
            self._advance(trial_id, trial.config.steps)
        else:
            self._give_up(trial_id)
        reached = self._running.pop(trial_id, None)
        error = f": {reached.error:.2f} % error" if reached and reached.error is not None else ""
        self._line(f"{outcome.state} {trial.cell.label}" + (f": {outcome.error}" if outcome.error else error))

    def lost(self, trial_id: str, reason: str) -> None:
        self._running.pop(trial_id, None)
        self._line(f"lost {self._trials[trial_id].cell.label}: {reason}; starts again from its last checkpoint")

    def left(self, trial_id: str) -> None:
        """It is not run now, or by another."""
        self._running.pop(trial_id, None)
        self._give_up(trial_id)

    def _give_up(self, trial_id: str) -> None:
        """What a trial will not do counts neither as done nor as left."""
        rest = self._work_left(trial_id)
        self._work -= rest
        self._left -= rest
        self._steps[trial_id] = self._trials[trial_id].config.steps

    def _advance(self, trial_id: str, step: int) -> None:
        if step > (before := self._steps[trial_id]):
            self._left -= (step - before) * self._work_of_step[trial_id]
            self._steps[trial_id] = step
            if running := self._running.get(trial_id):
                now = time.monotonic()
                self._busy += now - running.since
                running.step, running.since = step, now

    # Views

    @property
    def summary(self) -> str:
        done = self._kept + self._ended[TrialState.FINISHED] + self._ended[TrialState.DIVERGED]
        failed = self._failed + self._ended[TrialState.FAILED] + self._ended[TrialState.INTERRUPTED]
        left = self.seconds_left()
        time_left = "" if left is None else f", {duration(left)} left"
        return f"{done}/{self._total} done, {len(self._running)} running, {failed} failed{time_left}"

    def seconds_left(self) -> float | None:
        """As long as the rest takes in that order, at the speed of a trial so far; None too early on."""
        done, now = self._work - self._left, time.monotonic()
        if done < SURE_AFTER * self._work or not done or not self._busy:
            return None
        seconds = self._busy / done  # of a trial for a multiply-add
        running = dict(self._running)  # at once: the live view is drawn by another thread
        busy = [max(self._work_left(it) * seconds - (now - reached.since), 0) for it, reached in running.items()]
        slots = [*busy, *[0.0] * (self._widest - len(busy))]
        heapify(slots)
        for trial_id in self._trials:
            if trial_id not in running:
                heapreplace(slots, slots[0] + self._work_left(trial_id) * seconds)
        return max(slots)

    def _work_left(self, trial_id: str) -> int:
        steps_left = self._trials[trial_id].config.steps - self._steps[trial_id]
        return steps_left * self._work_of_step[trial_id]

    def _line(self, event: str) -> None:
        self._last_line = time.monotonic()
        if self._console.is_terminal:
            if event:
                self._live.console.print(Text(event, style="dim"))
        else:
            self._console.print(f"[{self.summary}] {event}".rstrip(), markup=False, highlight=False, soft_wrap=True)

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for trial_id, running in list(self._running.items())[:SHOWN_RUNNING]:
            table.add_row(*self._running_row(self._trials[trial_id], running))
        bar = ProgressBar(total=self._work or 1, completed=self._work - self._left, width=40)
        return Group(table, Text.assemble((self.summary, "bold")), bar)

    def _running_row(self, trial: Trial, running: _Running) -> tuple[str, str, str]:
        error = "" if running.error is None else f"{running.error:.2f} % error"
        return trial.cell.label, f"step {running.step}/{trial.config.steps}", error
