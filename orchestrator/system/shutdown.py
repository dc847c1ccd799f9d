"""Ctrl-C, SIGTERM and SIGHUP while trials run: once to stop when they have saved their state, again to stop at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

PATIENCE = 30.0
"""Seconds that running trials are given to reach their next checkpoint, where nobody says otherwise."""
ECHO = 1.0
"""Seconds in which a second SIGTERM is the first one's: `timeout` sends it to the command and then to its group."""
STOPPING = "stopping: running trials save their state (ctrl-C again stops at once)"


class Shutdown:
    """Takes the signals over for a block of the main thread. ``requested`` after the first; the second raises
    KeyboardInterrupt."""

    def __init__(self, say: Callable[[str], object], words: str = STOPPING, patience: float = PATIENCE) -> None:
        """``say`` is handed the ``words`` once a stop is requested. ``patience`` is in seconds."""
        self._say, self._words, self._patience = say, words, patience
        self._asked: float | None = None
        self._told = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Shutdown:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT:  # as under nohup
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        """Prints nothing: what it interrupts may be printing."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        elif number == signal.SIGINT or now - self._asked > ECHO:
            raise KeyboardInterrupt

    @property
    def requested(self) -> bool:
        """Tells the user, the first time it is looked at after the signal."""
        if self._asked is not None and not self._told:
            self._told = True
            self._say(self._words)
        return self._asked is not None

    @property
    def overdue(self) -> bool:
        return self._asked is not None and time.monotonic() - self._asked > self._patience

    def wait(self, seconds: float) -> bool:
        """Sleeps, and gives True at once where a stop is requested."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self.requested
