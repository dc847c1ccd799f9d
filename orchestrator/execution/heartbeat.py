"""A trial shows that it is alive by its steps: what a beat holds, and who has made none for too long.

A thread of its own would go on beating in a process whose training hangs.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass

STARTING = 600.0
"""Seconds that a trial may take more until its first step: it reads its data, and a GPU may be new to it."""
REMIND = 30.0
"""Seconds before a process that should have been ended is sent the signal again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """Says where an attempt runs and how far it is: the ``steps`` that it has made, and the ``step`` of the trial which
    it has reached by them. ``created`` is when its process began, by that machine's own count: another process may have
    its number later."""

    node: str
    pid: int
    created: float
    token: str
    steps: int
    step: int = 0

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, content: bytes) -> Beat:
        return cls(**json.loads(content))


class StallDetector:
    """Knows when each trial last made a step. Compares beats with one another only, by the caller's clock."""

    def __init__(self, stalled_after: float) -> None:
        self._stalled_after = stalled_after
        self._last: dict[str, tuple[Beat, float]] = {}

    def stalled(self, trial_id: str, beat: Beat, now: float) -> bool:
        """Whether the trial has made no step for too long. Says so again every ``REMIND`` seconds."""
        last, since = self._last.get(trial_id, (None, now))
        if beat != last:
            self._last[trial_id] = beat, now
            return False
        patience = self._stalled_after + (0 if beat.steps else STARTING)
        if now - since < patience:
            return False
        self._last[trial_id] = beat, now - patience + REMIND
        return True

    def forget(self, trial_id: str) -> None:
        self._last.pop(trial_id, None)


def created(pid: int) -> float:
    """When a process began. Raises psutil.NoSuchProcess."""
    import psutil

    return float(psutil.Process(pid).create_time())


def end_process(pid: int, began: float) -> bool:
    """Kills a process of this machine, stopped or not, unless its number has become another's."""
    import psutil

    try:
        if abs(created(pid) - began) > 0.1:
            return False
        os.kill(pid, signal.SIGKILL)
        return True
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
