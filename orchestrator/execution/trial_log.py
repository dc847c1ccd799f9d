"""Keeps what a worker's process says while it trains: prints, logging, warnings, and what libraries in C write.

Both streams of the process go to a file of its own without a name, for which no writer ever waits. A thread takes what
is new there at intervals, redacts it, and writes it to the trial's log in the ledger. So the words of a process that is
killed are there, but for those of its last seconds.
"""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

from orchestrator.errors import StorageError
from orchestrator.execution.pace import Pace
from orchestrator.ledger.ledger import Attempt, Ledger, SupersededError
from orchestrator.ledger.log_file import ATTEMPT, FIRST, LAST, LONGEST_LINE, BoundedLog
from orchestrator.ledger.storage import reason
from orchestrator.redaction import redacted

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks at what is new."""
SHARE = 0.02
"""Of the time, for all that is done with it: what is said without end is looked at less often."""
LARGE = 1 << 26
"""Bytes of the file without a name that are given back to the disk once they were taken."""
PUNCH_HOLE = 0x03
"""Linux's word for giving back a part of a file whose length stays."""


@contextmanager
def kept(ledger: Ledger, attempt: Attempt) -> Iterator[None]:
    """While the block lasts, what this process says goes to the log of the attempt's trial, and nowhere else. An
    attempt that says nothing writes nothing. A log that cannot be written is a warning, and no failure."""
    file = _without_name()
    if file is None:
        yield
        return
    with file:
        said = _Said(ledger, attempt, file.fileno())
        ended = threading.Event()
        keeper = threading.Thread(target=said.keep_until, args=[ended], name="log", daemon=True)
        try:
            with _sent_to(file.fileno()), _logged():
                keeper.start()
                yield
        finally:
            ended.set()
            keeper.join()
            said.keep()
            said.warn()


def _without_name() -> IO[bytes] | None:
    """An empty file; None where this node has no room for one, which is a warning."""
    try:
        return TemporaryFile(buffering=0)
    except OSError as error:
        log.warning("no log is kept on this node: %s", reason(error))
        return None


@contextmanager
def _sent_to(descriptor: int) -> Iterator[None]:
    """Sends what is written to this process's standard streams to an open file, at its end, whoever writes."""
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
    _flush()
    before = {stream: os.dup(stream) for stream in (1, 2)}
    watched = faulthandler.is_enabled()
    try:
        for stream in before:
            os.dup2(descriptor, stream)
        if watched:  # of a crash nobody would take the words from the file
            faulthandler.enable(before[2], all_threads=False)
        yield
    finally:
        _flush()
        for stream, old in before.items():
            os.dup2(old, stream)
        if watched:
            faulthandler.enable(2, all_threads=False)
        for old in before.values():
            os.close(old)


def _flush() -> None:
    """Has Python and C write what they still keep back."""
    _flush_python()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)


def _flush_python() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it may be closed, or none
            stream.flush()


@contextmanager
def _logged() -> Iterator[None]:
    """Prints what is logged from INFO on, unless somebody has set up logging: by itself Python drops less than
    warnings, and the level and the name of those."""
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler, level = logging.StreamHandler(), root.level
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Said:
    """What was said so far: taken from a file, and kept in the ledger."""

    def __init__(self, ledger: Ledger, attempt: Attempt, file: int) -> None:
        self._ledger, self._attempt, self._file = ledger, attempt, file
        self._taken = self._given_back = 0
        self._line = b""
        self._log: BoundedLog | None = None
        self._unwritten = self._over = False
        self._fault: Exception | None = None

    def keep_until(self, ended: threading.Event) -> None:
        pace = Pace(SHARE)
        while not ended.wait(INTERVAL):
            if pace.due():
                pace.begin()
                _flush_python()
                self.keep()
                pace.end()

    def keep(self) -> None:
        """Writes the log where there is news."""
        if self._over:
            return
        try:
            if self._take() or self._unwritten:
                self._unwritten = True
                self._write()
                self._unwritten, self._fault = False, None
        except SupersededError:
            self._over = True
        except (OSError, StorageError) as error:  # may be for a moment only
            self._fault = error

    def warn(self) -> None:
        if error := self._fault:
            said = reason(error) if isinstance(error, OSError) else error
            log.warning("what %s said could not be kept: %s", self._attempt.trial_id, said)

    def _write(self) -> None:
        assert self._log
        self._ledger.write_log(self._attempt, self._log.content + _redacted(self._line))

    def _take(self) -> bool:
        """Takes what is new in the file; of very much, the beginning and the end."""
        size = os.fstat(self._file).st_size
        if size == self._taken:
            return False
        self._log = self._log or self._begun()
        if (skipped := size - self._taken - FIRST - LAST) > 0:
            self._add(os.pread(self._file, FIRST, self._taken))
            self._log.skip(skipped + len(self._line))
            self._line, self._taken = b"", size - LAST
        self._add(os.pread(self._file, size - self._taken, self._taken))
        self._taken = size
        if size - self._given_back > LARGE:
            self._give_back()
        return True

    def _give_back(self) -> None:
        """Of the file what was taken, and not what has come since; where a file system cannot do that, all of it."""
        if _punched(self._file, self._taken):
            self._given_back = self._taken
        else:
            os.ftruncate(self._file, 0)
            self._taken = self._given_back = 0

    def _begun(self) -> BoundedLog:
        """With what the attempts before have said, and who speaks from here on."""
        it, before = self._attempt, self._ledger.log(self._attempt.trial_id)
        end = "" if before.endswith("\n") or not before else "\n"
        made = BoundedLog(f"{before}{end}".encode())
        head = ATTEMPT.format(number=it.number, place=it.place, pid=it.pid, began=it.began)
        made.add(f"{head}\n".encode())
        return made

    def _add(self, words: bytes) -> None:
        """Redacts whole lines; one that has not ended waits for its end, unless it is too long."""
        assert self._log
        lines, end, self._line = (self._line + words).rpartition(b"\n")
        self._line = _last_written(self._line)
        if len(self._line) > LONGEST_LINE:
            lines, end, self._line = lines + end + self._line, b"\n", b""
        if end:
            shown = b"\n".join(_last_written(line).rstrip(b"\r") for line in lines.split(b"\n"))
            self._log.add(_redacted(shown + end))


def _punched(file: int, size: int) -> bool:
    """Whether the disk has its first bytes back, which read as zeros from now on."""
    with suppress(OSError, AttributeError):  # systems other than Linux have no such call
        call = ctypes.CDLL(None).fallocate
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        return bool(call(file, PUNCH_HOLE, 0, size) == 0)
    return False


def _last_written(line: bytes) -> bytes:
    """What a terminal shows of a line that a progress bar writes again and again."""
    words = line.rstrip(b"\r")
    return words.rpartition(b"\r")[2] + line[len(words) :][:1]


def _redacted(words: bytes) -> bytes:
    return redacted(words.decode(errors="replace")).encode(errors="replace")
