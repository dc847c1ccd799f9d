"""Warns that a store accepts requests and does not answer: pyarrow itself waits for minutes without a word."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which a request that has no answer is worth a word."""
LOOK = 0.5


class Silence:
    """Watches requests from a thread of its own, which lives as long as there are any."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, float]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._watching = False

    @contextmanager
    def waiting_for(self, address: str) -> Iterator[None]:
        """Around a request to a store; the warning names the ``address``."""
        number = next(self._numbers)
        with self._lock:
            self._waiting[number] = address, time.monotonic()
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="silence", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[number]

    def _watch(self) -> None:
        warned = False
        while True:
            time.sleep(LOOK)
            with self._lock:
                if not self._waiting:
                    self._watching = False
                    return
                address, since = min(self._waiting.values(), key=lambda request: request[1])
            late = time.monotonic() - since >= PATIENCE
            if late and not warned:
                log.warning("%s: no answer for %g s; waiting on", address, PATIENCE)
            warned = late
