"""How often to do what takes time beside the training."""

from __future__ import annotations

import time


class Pace:
    """When to do again what takes time, so that it takes at most a share of it all: each time is paced by the last."""

    def __init__(self, share: float) -> None:
        self._share, self._cost = share, 0.0
        self._began = self._ended = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._ended >= self._cost * (1 / self._share - 1)

    def begin(self) -> None:
        self._began = time.monotonic()

    def end(self) -> None:
        self._ended = time.monotonic()
        self._cost = self._ended - self._began
