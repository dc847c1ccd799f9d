"""The log of a trial: a text that keeps its beginning and its end, whatever is said in between.

A file has at most ``FIRST + LAST`` bytes, and a line that says how many were dropped between the two. It is UTF-8 and
redacted. A line such as ``== attempt 2 on node7 1 CPU, process 4711, since 2026-01-01T12:00:00+00:00 ==`` comes before
the words of each attempt that said something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

FIRST, LAST = 1 << 18, 3 << 18
"""Bytes that are kept of the beginning and of the end."""
LONGEST_LINE = 1 << 16
"""Bytes of a line that is kept whole, wherever it stands."""
MOST = FIRST + LAST + 4 * LONGEST_LINE
"""Bytes of a file: with the line between the two, and one that has not ended yet, whose bytes may be no text and take
three each."""
ATTEMPT = "== attempt {number} on {place}, process {pid}, since {began} =="
_ATTEMPT = re.compile(r"== attempt (\d{1,9}) on (.{1,500}), process (\d{1,9}), since (\S{1,40}) ==")
DROPPED = "== {} bytes are dropped here =="
_DROPPED = re.compile(rb"^== (\d{1,18}) bytes are dropped here ==\n", re.M)
OVERLAP = 4096
"""Bytes of what was read before by which the place is found where a text goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a log, and the attempt that said it: its number, where it ran, and since when. A log that begins in the
    midst of an attempt does not tell."""

    attempt: int | None = None
    place: str | None = None
    process: int | None = None
    began: str | None = None
    line: str


class BoundedLog:
    """Takes words, and holds the first and the last of them. Begins with what a log held before."""

    def __init__(self, content: bytes = b"") -> None:
        self._first, self._last = bytearray(), bytearray()
        self._full, self._dropped = False, 0
        if found := _DROPPED.search(content):
            self._first, self._full, self._dropped = bytearray(content[: found.start()]), True, int(found[1])
        self.add(content[found.end() :] if found else content)

    def add(self, words: bytes) -> None:
        """Whole lines, as a rule: what is dropped ends with one where there are any."""
        if not self._full:
            words = self._begun_with(words)
        self._last += words
        if (over := len(self._last) - LAST) > 0:
            self._drop(self._last.find(b"\n", over - 1) + 1 or over)

    def _begun_with(self, words: bytes) -> bytes:
        """Fills the beginning; returns what has no room there."""
        room = FIRST - len(self._first)
        cut = len(words) if len(words) <= room else words.rfind(b"\n", 0, room) + 1
        self._full = cut < len(words)
        self._first += words[:cut]
        return words[cut:]

    def _drop(self, count: int) -> None:
        self._dropped += count
        del self._last[:count]

    def skip(self, count: int) -> None:
        """Notes that so many bytes came and are not here; what came before them is no longer of the end."""
        self._full = True
        self._drop(len(self._last))
        self._dropped += count

    @property
    def content(self) -> bytes:
        note = DROPPED.format(self._dropped).encode() + b"\n" if self._dropped else b""
        return bytes(self._first) + note + bytes(self._last)


def lines(text: str) -> Iterator[Line]:
    """The lines of a log, but for those that say whose words follow."""
    whose = Line(line="")
    for line in text.splitlines():
        if head := _ATTEMPT.fullmatch(line):
            whose = Line(attempt=int(head[1]), place=head[2], process=int(head[3]), began=head[4], line="")
        else:
            yield replace(whose, line=line)


def last_lines(text: str, count: int) -> str:
    """The last of a text, which may lack its end."""
    place = len(text) - text.endswith("\n")
    for _ in range(count):
        place = text.rfind("\n", 0, place)
        if place < 0:
            return text
    return text[place + 1 :]


def news(before: str, text: str) -> str:
    """What a log says that it did not say when it was ``before``. What was dropped meanwhile is named by a line."""
    if text.startswith(before):
        return text[len(before) :]
    end = before[-OVERLAP:]
    place = text.rfind(end) if end else -1
    return text[place + len(end) :] if place >= 0 else f"== some lines are left out here ==\n{text}"
