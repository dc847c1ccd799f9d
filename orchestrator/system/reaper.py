"""Ends what this process has started when it is gone itself, however it went: a small process that waits for that.

What is started while a reaper is at work carries a mark in its environment, and passes it on to whatever it starts. A
process can overwrite that, as Ray's agents do for their titles. So the reaper looks while all goes well, too, and
remembers whom it has seen with the mark, and whom those have started.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

MARK = "ORCHESTRATE_REAPED"
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends this process must not end the one that waits for it."""
PASSES = 20
PAUSE = 0.1
EVERY = 1.0
"""Seconds between two looks at who carries the mark."""
CLOCK_SECONDS = 60.0
"""How far the start of a process may seem to move, as its machine's clock is set."""


@contextmanager
def reaping(folder: Path | None = None) -> Iterator[Mapping[str, str]]:
    """Ends, with the block or with this process, every process that was started with the mark that it gives: a variable
    for its environment. Deletes the ``folder`` of theirs after that."""
    mark = uuid4().hex
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)  # which it inherits
    waiting = subprocess.Popen(
        [sys.executable, "-P", "-m", "orchestrator.system.reaper", mark, *([str(folder)] if folder else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield {MARK: mark}
    finally:
        if waiting.stdin:
            with suppress(OSError):
                waiting.stdin.close()
        waiting.wait()


class Family:
    """All processes that carry the mark or were started by one that belongs here, each known by its number and its
    start: a number that is used again is another process."""

    def __init__(self, mark: str) -> None:
        import psutil

        self._mark = mark
        self._since = psutil.Process().create_time() - CLOCK_SECONDS
        self._known: set[Any] = set()

    def look(self) -> set[Any]:
        """Those that live now."""
        import psutil

        self._known = {process for process in self._known if _lives(process)}
        others = {process for process in psutil.process_iter() if self._is_recent(process)} - self._known
        new = {process for process in others if self._is_marked(process)}
        while new:
            self._known |= new
            others -= new
            pids = {process.pid for process in self._known}
            new = {process for process in others if _parent(process) in pids}
        return self._known

    def end(self) -> None:
        """Kills them all, until there are none."""
        import psutil

        for _ in range(PASSES):
            if not (living := self.look()):
                return
            for process in living:
                with suppress(psutil.Error):
                    process.kill()  # not one that only has the number of one that is gone
            time.sleep(PAUSE)

    def _is_recent(self, process: Any) -> bool:
        """Whether it can have the mark: no environment is read of what began before there was one."""
        import psutil

        with suppress(psutil.Error, OSError):
            return bool(process.create_time() >= self._since and process.pid != os.getpid() and _lives(process))
        return False

    def _is_marked(self, process: Any) -> bool:
        import psutil

        with suppress(psutil.Error, OSError):
            return bool(process.environ().get(MARK) == self._mark)
        return False


def _lives(process: Any) -> bool:
    import psutil

    with suppress(psutil.Error, OSError):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _parent(process: Any) -> int | None:
    import psutil

    with suppress(psutil.Error, OSError):
        return int(process.ppid())
    return None


def main() -> None:
    mark, *folders = sys.argv[1:]
    family = Family(mark)
    while not select.select([sys.stdin], [], [], EVERY)[0]:  # nothing is written: it ends with its writer
        family.look()
    family.end()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
