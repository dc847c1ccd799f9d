"""The file of a bundle, a .zip, as it is read; ``archiving`` writes it.

Its files lie one after the other and are not compressed, so that none can become larger than it is. The last but the
zip's own is SHA256SUMS: the checksum of each before it, as sha256sum writes it. The zip's comment holds the SHA-256 of
all bytes before it. Whoever reads a file checks that file; ``check_all`` checks every byte. The names are keys of a
table here, and lead to no file of this machine. Standard library only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import struct
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from anytime_core.files import too_large
from orchestrator.errors import UsageError

SUMS = "SHA256SUMS"
COMMENT = b"sha256 "
DIGITS = 64
"""Of a SHA-256, in hexadecimal."""
MOST_SUMS, MOST_FILES = 1 << 27, 1 << 20
"""Bytes of the checksums, and files; 100,000 trials have 60 MB of the one and 600,000 of the other."""
LONGEST_NAME = 512
HEADER = struct.Struct("<4s5H3I2H")
MAGIC, FIXED = b"PK\3\4", (20, 0, 0, 33)
"""Of a file's header: the version, how it is packed (not at all), and when it was made (in 1980)."""
FLAGS = (0, 1 << 11)
"""None, or that the name is UTF-8."""
AT_ONCE = 1 << 24
"""Bytes that are read at once where all are checked."""


@dataclass(frozen=True, slots=True)
class _Member:
    begin: int
    size: int
    sha256: str


def check_all(path: Path) -> None:
    """Raises UsageError unless every byte of a bundle is as it was written."""
    with path.open("rb") as file:
        digest = digest_of(file)
        if file.read() != digest:
            raise UsageError(f"{path}: is no whole bundle: the checksum of all its bytes does not match")


def digest_of(file: IO[bytes]) -> bytes:
    """The SHA-256, in hexadecimal, of all bytes of a file but the last, where a bundle has this."""
    digest, left = hashlib.sha256(), max(file.seek(0, os.SEEK_END) - DIGITS, 0)
    file.seek(0)
    while left and (part := file.read(min(left, AT_ONCE))):
        digest.update(part)
        left -= len(part)
    return digest.hexdigest().encode()


class Archive:
    """As it is read. ``members`` are its files, by name. Raises UsageError for a file that is no bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.members = self._members()
        except ValueError as error:
            os.close(self._descriptor)
            raise UsageError(f"{path}: is no whole bundle: {error}") from error

    @cached_property
    def folders(self) -> dict[str, dict[str, None]]:
        """The names directly below each, in order."""
        found: dict[str, dict[str, None]] = defaultdict(dict, {"": {}})
        for member in self.members:
            below, _, last = member.rpartition("/")
            found[below][last] = None
            while below:
                below, _, last = below.rpartition("/")
                found[below][last] = None
        return dict(found)

    def read(self, name: str, most: int) -> bytes:
        if (member := self.members.get(name)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.path}/{name}")
        if member.size > most:
            raise too_large(member.size, most, f"{self.path}/{name}")
        content = self._bytes(member.begin, member.size)
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise UsageError(f"{self.path}: is no whole bundle: the checksum of {name} does not match")
        return content

    def _bytes(self, begin: int, size: int) -> bytes:
        """Fewer where the file ends."""
        parts: list[bytes] = []
        while size and (part := os.pread(self._descriptor, size, begin)):
            parts.append(part)
            begin, size = begin + len(part), size - len(part)
        return b"".join(parts)

    def _members(self) -> dict[str, _Member]:
        places = self._places()
        begin, size = places.pop(SUMS, (0, 0))
        if not size or size > MOST_SUMS:
            raise ValueError(f"it has no {SUMS}")
        sums = _sums(self._bytes(begin, size))
        if sums.keys() != places.keys():
            raise ValueError(f"{SUMS} names other files than there are")
        return {name: _Member(*place, sums[name]) for name, place in places.items()}

    def _places(self) -> dict[str, tuple[int, int]]:
        """Where each file begins, and its size, by the headers before the files."""
        places: dict[str, tuple[int, int]] = {}
        place, end = 0, os.fstat(self._descriptor).st_size
        while (head := self._bytes(place, HEADER.size + LONGEST_NAME)).startswith(MAGIC):
            name, begin, size = _header(head)
            if name in places:
                raise ValueError(f"it holds {name} twice")
            places[name] = (place + begin, size)
            place += begin + size
            if place > end or len(places) > MOST_FILES:
                raise ValueError("it is cut short" if place > end else f"it holds more than {MOST_FILES} files")
        return places


def _header(head: bytes) -> tuple[str, int, int]:
    """A file's name, where it begins after the header, and its size. Raises ValueError for any other than a bundle's,
    such as one of what is compressed, or has a name that leads elsewhere."""
    if len(head) < HEADER.size:
        raise ValueError("it is cut short")
    _, version, flags, method, time, date, _, packed, size, length, extra = HEADER.unpack_from(head)
    begin = HEADER.size + length
    if (version, method, time, date) != FIXED or flags not in FLAGS or packed != size or extra or begin > len(head):
        raise ValueError("it holds a file as no bundle does")
    name = head[HEADER.size : begin].decode()
    if not is_fit(name):
        raise ValueError(f"it holds a file named {name[:80]!r}")
    return name, begin, size


def is_fit(name: str) -> bool:
    """Whether a file of a bundle may have this name: one that leads nowhere else, on any system, and can be printed."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*name.split("/")}


def _sums(content: bytes) -> dict[str, str]:
    lines = re.findall(rf"([0-9a-f]{{{DIGITS}}})  ([^\n]+)\n", content.decode())
    return {name: digest for digest, name in lines}
