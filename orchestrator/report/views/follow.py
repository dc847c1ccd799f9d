"""What a trial says, as it says it: its log so far, and then what is new in it until the trial stands still.

A trial that is trained again (``orchestrator.ledger.reruns``) has two logs until that has ended: that of the training
whose result it has, and below it that of the one which is to take its place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, fields

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.log_file import Line, last_lines, lines, news
from orchestrator.ledger.reruns import beside
from orchestrator.redaction import redacted
from orchestrator.report.views.render import Row
from orchestrator.sweep.trial import Trial, TrialState

POLL_SECONDS = 1.0
"""Between two looks; a worker writes every other second at most."""
AGAIN = "== trained again =="
"""Before the words of a training that is to take the place of an earlier one."""


COLUMNS = ("rerun", *(field.name for field in fields(Line)))
"""Of the rows for machines."""


def so_far(ledger: Ledger, trial: Trial, tail: int | None = None) -> str:
    """All that a trial has said, or the last lines of it, without secrets that this process knows. Raises
    StorageError."""
    text = redacted(_said(ledger, trial.id))
    return text if tail is None else last_lines(text, tail)


def rows(ledger: Ledger, trial: Trial, tail: int | None = None) -> list[Row]:
    """The same for machines: a row for each line, with the attempt that said it. Raises StorageError."""
    trainings = ((False, ledger), (True, beside(ledger)))
    said = [{"rerun": again, **asdict(line)} for again, it in trainings for line in lines(redacted(it.log(trial.id)))]
    return said if tail is None else said[max(len(said) - tail, 0) :]


def has_log(ledger: Ledger, trial: Trial) -> bool:
    """Raises StorageError."""
    return any(it.log_size(trial.id) is not None for it in (ledger, beside(ledger)))


def follow(ledger: Ledger, trial: Trial, sweep: str, tail: int | None = None) -> Iterator[str]:
    """All that it has said, and then what is new, in whole lines but for the last of all. Ends once the trial has ended
    or failed, or no driver has it trained any more. Raises StorageError."""
    before: str | None = None
    going = True
    while going:
        going = _goes_on(ledger, trial.id, sweep)  # asked first: what is said until then is in the log
        text = _said(ledger, trial.id)
        if going:
            text = text[: text.rfind("\n") + 1]
        if before is None:
            new = text if tail is None else last_lines(text, tail)
        else:
            new = news(_since_adopted(before, text), text)
        before = text
        if new:
            yield new
        if going:
            time.sleep(POLL_SECONDS)


def _since_adopted(before: str, text: str) -> str:
    """The part of ``before`` that the log still has once a training that was done again has taken the place of the
    earlier one: what that training had said by then."""
    _, mark, again = before.rpartition(f"{AGAIN}\n")
    return again if mark and mark not in text and text.startswith(again) else before


def _said(ledger: Ledger, trial_id: str) -> str:
    kept, again = ledger.log(trial_id), beside(ledger).log(trial_id)
    end = "" if kept.endswith("\n") or not kept else "\n"
    return f"{kept}{end}{AGAIN}\n{again}" if again else kept


def _goes_on(ledger: Ledger, trial_id: str, sweep: str) -> bool:
    """Whether a driver, that of the sweep or of another one, has the trial trained, now or later, or trained again."""
    again = beside(ledger)
    if again.standing(trial_id).state is not TrialState.PENDING and _is_trained(again, trial_id, sweep):
        return True
    return _is_trained(ledger, trial_id, sweep)


def _is_trained(ledger: Ledger, trial_id: str, sweep: str) -> bool:
    standing = ledger.standing(trial_id)
    if standing.state.ended or standing.state is TrialState.FAILED:
        return False
    return ledger.driver(sweep) is not None or ledger.elsewhere(trial_id, sweep) is not None
