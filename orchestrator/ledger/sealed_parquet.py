"""A seal on a whole Parquet file, checked before Arrow sees it: a flipped bit in the footer can make Arrow abort the
process, which nobody can catch.

It lies between the last column and the footer::

    PAR1  columns  MARKER (8 bytes)  SHA-256 of all other bytes (32 bytes)  footer  its length (4 bytes)  PAR1

Readers find columns by their offsets and the footer by its length, so they all pass over it.
"""

from __future__ import annotations

import hashlib

MARKER = b"#sealed1"
MAGIC, TAIL = b"PAR1", 8
"""A file begins and ends with the first; its last bytes hold it and the length of the footer."""
SIZE = len(MARKER) + hashlib.sha256().digest_size


def seal(content: bytes) -> bytes:
    """The same file with a seal. No offset in it changes."""
    footer = _footer(content)
    return b"".join((content[:footer], MARKER, _digest(content, footer, footer), content[footer:]))


def check(content: bytes) -> None:
    """Raises ValueError for what ``seal`` did not give. What has no seal, as older versions wrote it, is taken as it is
    where it begins and ends as a Parquet file does."""
    footer = _footer(content)
    place = max(footer - SIZE, 0)
    if content.startswith(MARKER, place):
        if content[place + len(MARKER) : footer] != _digest(content, place, footer):
            raise ValueError("checksum does not match")
    elif MARKER in content:
        raise ValueError("its seal is not before its footer")


def _footer(content: bytes) -> int:
    """Where it begins."""
    begin = len(content) - TAIL - int.from_bytes(content[-TAIL:-4], "little")
    if content[:4] != MAGIC or content[-4:] != MAGIC or begin < len(MAGIC):
        raise ValueError("it does not begin or end as a Parquet file does")
    return begin


def _digest(content: bytes, before: int, after: int) -> bytes:
    """Of the bytes ahead of one place and of those from the other on."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:before])
    digest.update(view[after:])
    return digest.digest()
