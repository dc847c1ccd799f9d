"""Ends what this process has started when it is gone itself, however it went: a small process that waits for that.

What is started while a reaper is at work carries a mark in its environment, and passes it on to whatever it starts.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

MARK = "ORCHESTRATE_REAPED"
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends this process must not end the one that waits for it."""
PASSES = 20
PAUSE = 0.1


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


def reap(mark: str) -> None:
    """Kills all processes that carry the mark, until there are none."""
    for _ in range(PASSES):
        if not (pids := _marked(mark)):
            return
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE)


def _marked(mark: str) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def main() -> None:
    sys.stdin.buffer.read()  # nothing is written: it ends with its writer
    mark, *folders = sys.argv[1:]
    reap(mark)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
