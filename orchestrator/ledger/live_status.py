"""What a driver says while it runs, for `orchestrate status` in other shells: a small file beside the sweep's lock.

It is written every few seconds by a thread of its own, so that slow storage keeps no trial waiting, and is taken away
at the end. One that is left over is the last word of a driver that died.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType

from anytime_core.documents import typed
from orchestrator.errors import StorageError
from orchestrator.ledger.ledger import Ledger

log = logging.getLogger("ray.orchestrator")
TELL_SECONDS = 5.0
END_SECONDS = 10.0
"""So long storage that does not answer is waited for at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """One trial at work: ``place`` is its node and device, ``error`` that of its last prediction in percent."""

    trial_id: str
    step: int
    place: str = ""
    error: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusSnapshot:
    """``time`` is in seconds since 1970; ``seconds_left`` is None while it cannot be said; ``errors`` are the last."""

    time: float
    seconds_left: float | None
    running: tuple[Running, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def age(self) -> float:
        """Seconds, by this machine's clock."""
        return max(time.time() - self.time, 0.0)


def last_snapshot(ledger: Ledger, sweep: str) -> StatusSnapshot | None:
    """The last word of the sweep's driver; None if there is none, or it cannot be read, which the log says."""
    try:
        content = ledger.read_status(sweep)
        return typed(StatusSnapshot, content) if content else None
    except StorageError as error:
        log.warning("sweep %s: what its driver said last is left out: %s", sweep, error)
        return None
    except ValueError as error:
        log.warning("sweep %s: what its driver said last is damaged: %s", sweep, error)
        return None


class StatusWriter:
    """Says it while the block runs, whatever becomes of the storage."""

    def __init__(
        self, ledger: Ledger, sweep: str, now: Callable[[], StatusSnapshot], interval: float = TELL_SECONDS
    ) -> None:
        self._ledger, self._sweep, self._now, self._interval = ledger, sweep, now, interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="telling", daemon=True)

    def __enter__(self) -> StatusWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(END_SECONDS)

    def _tell(self) -> None:
        ended = False
        while not ended:
            self._try(lambda: self._ledger.write_status(self._sweep, asdict(self._now())))
            ended = self._done.wait(self._interval)
        self._try(lambda: self._ledger.write_status(self._sweep, None))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, StorageError, ValueError) as error:
            log.info("the state of %s could not be written: %s", self._sweep, error)
