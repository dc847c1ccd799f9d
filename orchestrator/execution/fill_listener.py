"""Hears what becomes of trials whose outcomes are filled in, and shows it: a line with a bar on a terminal, plain lines
elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.text import Text

from anytime_core.result import EpochMetrics
from orchestrator.execution.console import remark, tell
from orchestrator.execution.live_view import live_view
from orchestrator.execution.progress import LINE_SECONDS
from orchestrator.execution.worker import Outcome
from orchestrator.sweep.retries import Failed, FailureKind, FailureTally, Holds, without_numbers
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.system.shutdown import Shutdown

log = logging.getLogger(__name__)


class FillListener:
    """Of all rounds of one command; a context manager. ``tally`` counts what failed. A fault of one trial holds no
    other."""

    def __init__(self, trials: Collection[Trial], tally: FailureTally, shutdown: Shutdown, console: Console) -> None:
        self.written: set[str] = set()
        self._cells = {trial.id: trial.cell for trial in trials}
        self._tally, self._shutdown, self._console = tally, shutdown, console
        self._given_up: set[str] = set()
        self._last_line = time.monotonic()
        self._live = live_view(console, self._view)

    def __enter__(self) -> FillListener:
        if self._live.can_show:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()
        if not self._live.can_show:
            tell(self._console, self.summary)

    def next_round(self) -> None:
        """Lets those begin again that were given up in the last one."""
        self._given_up.clear()

    # What the scheduler asks, and says

    @property
    def holds(self) -> Holds:
        return Holds(everything=self._shutdown.requested, trials=frozenset(self._given_up))

    @property
    def overdue(self) -> bool:
        """Nothing is lost with what is at work: it takes seconds to do again."""
        return self._shutdown.requested

    def started(self, trial_id: str) -> None: ...

    def placed(self, trial_id: str) -> None: ...

    def reached(self, trial_id: str, step: int) -> None: ...

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None: ...

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        for note in outcome.notes:
            log.warning("%s", note)
        if outcome.state is TrialState.FINISHED:
            self._tally.mended(trial_id)
            self.written.add(trial_id)
        elif outcome.state is TrialState.FAILED:
            kind = outcome.kind or FailureKind.BUG
            self._failed(trial_id, Failed(kind=kind, error=outcome.error or "", signature=outcome.signature))
        self._show()

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None:
        """Its process died: it starts again at once, unless it needs more memory or does so again and again."""
        if trial_id in self._given_up:  # it died again before it could ask
            return
        if kind is FailureKind.LOST and self._tally.lost(trial_id, step=0):
            remark(self._console, f"{self._cells[trial_id].label}: {reason}; begun again")
            return
        if kind is FailureKind.LOST:
            reason, kind = f"{reason}, {self._tally.restarts(trial_id)} times", FailureKind.BUG
        self._given_up.add(trial_id)
        self._failed(trial_id, Failed(kind=kind, error=reason, signature=without_numbers(reason)))
        self._show()

    def waits(self, reason: str) -> None:
        remark(self._console, f"no trial runs: {reason}")

    def _failed(self, trial_id: str, failure: Failed) -> None:
        self._tally.failed(trial_id, self._cells[trial_id].method, failure)

    # What people see

    @property
    def summary(self) -> str:
        return f"[{len(self.written)}/{len(self._cells)} written, {len(self._tally.failures)} failed]"

    def _show(self) -> None:
        """On a terminal the live view does."""
        if not self._live.can_show and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            tell(self._console, self.summary)

    def _view(self) -> Group:
        done, width = len(self.written) + len(self._tally.failures), self._console.width
        bar = ProgressBar(total=len(self._cells), completed=done, width=min(40, width))
        return Group(Text(self.summary, style="bold"), bar)
