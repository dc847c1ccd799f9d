"""The program's standard streams, such that nothing about a terminal can end a command.

What the terminal's encoding lacks is replaced. What can no longer be written is dropped: the command goes on, and its
end says what was lost.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any, TextIO, cast

LOOKALIKE = "lookalike"
"""The name of the handler, as Python's own are ``replace`` and ``strict``."""
LOOKALIKES = {
    "±": "+/-",
    "†": "+",
    "\N{MULTIPLICATION SIGN}": "x",
    "·": "*",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "…": "...",
    "•": "*",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "│": "|",
    "┃": "|",
}
BOX_DRAWING = range(0x2500, 0x2580)
RAW_BYTES = range(0xDC80, 0xDD00)
"""What Python makes of the bytes of a file's name that are no text."""


class LastingStream:
    """A stream that outlives its reader: ``tee`` may go at ctrl-C, or the disk behind it fill up. ``fault`` is the
    first reason why something was lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.fault: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:
        """Names no codec where there is but ASCII: click takes that for a mistake, and would write UTF-8 beside us."""
        return "7-bit" if codecs.lookup(self._stream.encoding).name == "ascii" else self._stream.encoding

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self.fault = self.fault or error
            if isinstance(error, BrokenPipeError):
                self.drop()

    def drop(self) -> None:
        """Sends what is still kept back, and whatever comes, nowhere: for whoever else writes there, too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def prepare() -> None:
    """Makes both streams of this process last, and able to show any text."""
    codecs.register_error(LOOKALIKE, _lookalike)
    _open_closed()
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def lost() -> OSError | None:
    """Why standard output lacks something; None if it lacks nothing. To be called at the end."""
    if not isinstance(sys.stdout, LastingStream):
        return None
    sys.stdout.flush()
    if sys.stdout.fault:
        sys.stdout.drop()  # Python would complain of what is still kept back
    return sys.stdout.fault


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    stream = stream or open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (it stays open)
    if isinstance(stream, TextIOWrapper):  # and not what a notebook has there
        stream.reconfigure(errors=LOOKALIKE)
    return cast(TextIO, LastingStream(stream))


def _open_closed() -> None:
    """Takes the places of streams that were closed (``>&-``), or the next file that is opened would get what is
    printed. Only standard output says that it cannot be written: it is opened to be read."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                opened = os.open(os.devnull, mode)  # the lowest number that is free: this one
                os.set_inheritable(opened, True)


def _lookalike(error: UnicodeError) -> tuple[str | bytes, int]:
    """Gives what can stand for the characters that an encoding lacks, as a handler of Python's codecs does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if ord(character) in RAW_BYTES:
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return _replaced(character), error.start + 1


def _replaced(character: str) -> str:
    """Its lookalike, or the letter below its accents."""
    if ord(character) in BOX_DRAWING:
        return LOOKALIKES.get(character, "-")
    import unicodedata

    plain = unicodedata.normalize("NFKD", character)[0]
    return LOOKALIKES.get(character) or (plain if plain.isascii() else "?")
