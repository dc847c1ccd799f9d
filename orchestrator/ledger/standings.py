"""Where a trial stands, and who trains it: what a ledger says of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.sweep.trial import TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try at a trial. ``number`` counts from 1; ``token`` is its own. ``first_began`` is when the first try at the
    trial began, ``sweep`` the one whose driver made this one, ``driver`` that driver's id, and ``device`` what of its
    host it uses; they are empty where that was not written down."""

    trial_id: str
    number: int
    token: str
    host: str
    pid: int
    began: str
    first_began: str = ""
    sweep: str = ""
    device: str = ""
    driver: str = ""

    @property
    def place(self) -> str:
        return f"{self.host} {self.device}".strip()

    @property
    def trial_began(self) -> str:
        """When the first try did; empty where that was not written down."""
        return self.first_began or (self.began if self.number == 1 else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt failed. ``error`` is a line for the user; ``kind`` is a FailureKind, and ``signature`` the same
    for the same cause, both empty where they were not written down."""

    attempt: int
    error: str
    traceback: str
    time: str
    kind: str = ""
    signature: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The process that runs a sweep. ``id`` is its own; empty for one of a version that had none."""

    host: str
    pid: int
    since: str
    id: str = ""

    def runs(self, began: str | None, driver: str) -> bool:
        """Whether it made an attempt that began then under the driver of that id. The clocks of two machines are not
        compared, but where one of the two is of a version that knew no ids."""
        if self.id and driver:
            return self.id == driver
        return not self.id and began is not None and began >= self.since

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a trial stands. ``record`` is there once it has ended; until then ``began`` says when the last of its
    ``attempts`` did, ``sweep`` and ``driver`` whose it was, ``first_began`` when the first did, where that is known,
    and ``failure`` why the last one failed, with its ``kind`` and ``signature``. ``step`` is that of the end, or of the
    newest checkpoint.

    One that began and has neither ended nor paused counts as interrupted: whether it runs, only its driver knows.
    """

    state: TrialState = TrialState.PENDING
    attempts: int = 0
    began: str | None = None
    driver: str = ""
    step: int = 0
    failure: str | None = None
    record: TrialRecord | None = None
    kind: str = ""
    signature: str = ""
    first_began: str = ""
    sweep: str = ""

    def under(self, driver: Driver | None) -> TrialState:
        """As ``state``, but a trial that its sweep's present driver has begun is running."""
        runs = driver is not None and driver.runs(self.began, self.driver)
        return TrialState.RUNNING if self.state is TrialState.INTERRUPTED and runs else self.state


class SupersededError(Exception):
    """A later attempt at the same trial has begun; this one must not write any more."""


class ElsewhereError(Exception):
    """Another sweep has the same trial, and trains it now."""

    def __init__(self, trial_id: str, sweep: str) -> None:
        super().__init__(f"{trial_id}: sweep {sweep} trains it now")
        self.sweep = sweep


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
