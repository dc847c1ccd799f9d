"""What a trial says, as it says it: its log so far, and then what is new in it until the trial stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.log_file import last_lines, news
from orchestrator.sweep.trial import Trial, TrialState

POLL_SECONDS = 1.0
"""Between two looks; a worker writes every other second at most."""


def so_far(ledger: Ledger, trial: Trial, tail: int | None = None) -> str:
    """All that a trial has said, or the last lines of it. Raises StorageError."""
    text = ledger.log(trial.id)
    return text if tail is None else last_lines(text, tail)


def follow(ledger: Ledger, trial: Trial, sweep: str, tail: int | None = None) -> Iterator[str]:
    """The same, and then what is new, in whole lines but for the last of all. Ends once the trial has ended or failed,
    or no driver has it trained any more. Raises StorageError."""
    before: str | None = None
    going = True
    while going:
        going = _goes_on(ledger, trial.id, sweep)  # asked first: what is said until then is in the log
        text = ledger.log(trial.id)
        if going:
            text = text[: text.rfind("\n") + 1]
        new = news(before, text) if before is not None else text if tail is None else last_lines(text, tail)
        before = text
        if new:
            yield new
        if going:
            time.sleep(POLL_SECONDS)


def _goes_on(ledger: Ledger, trial_id: str, sweep: str) -> bool:
    """Whether a driver, that of the sweep or of another one, has the trial trained, or is yet to."""
    standing = ledger.standing(trial_id)
    if standing.state.ended or standing.state is TrialState.FAILED:
        return False
    return ledger.driver(sweep) is not None or ledger.elsewhere(trial_id, sweep) is not None
