"""Words for people."""

from __future__ import annotations

import os
import re
import unicodedata

from orchestrator.redaction import redacted

UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters of both sets, but for the tab and the end of a line
    r"\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # unseen, or turning the line
    r"\U000e0000-\U000e007f"
    r"\ud800-\udc9f\udd00-\udfff]"  # halves of characters; a byte of a file's name above 9f can be printed
)
FLAG = re.compile(r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
"""Of a part of a country, as England's: the one use of unseen letters that people see."""
JOINERS = "\u200c\u200d"
"""They join emoji, and the letters of scripts that have no capitals, such as Persian."""
JOINED = ("So", "Sk", "Lo", "Mn", "Mc")


def shown(text: str) -> str:
    """A text as it may be shown to people, whoever wrote it: without secrets, and without what a terminal obeys.

    Lines, tabs, emoji and letters of all scripts come through. What cannot be seen, or moves what can, is written as
    Python does, such as ``\\x1b`` for the character that begins a terminal's commands.
    """
    return visible(redacted(text))


def visible(text: str) -> str:
    """The text with all that cannot be seen written out; the two characters that end a line on Windows are one."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    flags = [found.span() for found in FLAG.finditer(text)]

    def written(found: re.Match[str]) -> str:
        place = found.start()
        if any(begin < place < end for begin, end in flags) or _joins(text, place):
            return found[0]
        return ascii(found[0])[1:-1]

    return UNSEEN.sub(written, text)


def one_line(text: str) -> str:
    """The same in one line, with single spaces."""
    return visible(" ".join(text.split()))


def _joins(text: str, place: int) -> bool:
    """Whether the character between two others is one that belongs there."""
    around = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
    return text[place] in JOINERS and len(around) == 2 and all(unicodedata.category(it) in JOINED for it in around)


def counted(count: int, noun: str) -> str:
    """Such as ``1 trial`` and ``2 trials``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def first_line(error: BaseException) -> str:
    """What an error says first; its kind, where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def said_by_system(error: BaseException) -> str:
    """Such as ``/srv/runs: No space left on device``, with the file where the system named one; empty for an error that
    is not the system's."""
    if not isinstance(error, OSError) or not error.strerror:
        return ""
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


ADDRESSES = "local (this machine alone), auto, HOST:PORT, ray://HOST:PORT"


class FromEnvironment(str):
    """A value that an environment variable gave and not the command line, so that a message can name the variable."""

    variable: str

    def __new__(cls, value: str, variable: str) -> FromEnvironment:
        made = super().__new__(cls, value)
        made.variable = variable
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """A copy, and one that a worker is sent, has the variable, too."""
        return str(self), self.variable


def named(value: str, otherwise: str = "", shown: str | None = None) -> str:
    """Such as ``RAY_ADDRESS=auto`` for a value from the environment, else such as ``--address auto``. ``shown`` stands
    for a value that holds a secret."""
    text = value if shown is None else shown
    return f"{value.variable}={text}" if isinstance(value, FromEnvironment) else f"{otherwise} {text}".strip()


def expanded_path(text: str) -> str:
    """A path with the home folder in the place of a leading ``~``, and the values of ``$VARIABLES`` that are set."""
    return os.path.expanduser(os.path.expandvars(text))
