"""The file of a bundle, a .zip, as it is written; ``archive`` reads it."""

from __future__ import annotations

import hashlib
import os
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from orchestrator.errors import UsageError
from orchestrator.ledger.archive import COMMENT, DIGITS, LONGEST_NAME, SUMS, digest_of, is_fit

TIME = (1980, 1, 1, 0, 0, 0)
LARGEST = 2_000_000_000
"""Bytes of a file: a larger one has another header."""


class ArchiveWriter:
    """As it is written. The same files in the same order are the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._zip = ZipFile(file, "w", ZIP_STORED)
        self._sums: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def add(self, name: str, content: bytes) -> None:
        """Raises UsageError for what a bundle cannot hold."""
        if not is_fit(name):
            raise UsageError(
                f"a bundle cannot hold a file named {name!r:.80}: a name must have no backslash, no blank but the "
                "plain one, and nothing that cannot be printed; rename it"
            )
        if len(content) > LARGEST or len(name.encode()) > LONGEST_NAME:
            raise UsageError(f"{name}: {len(content)} bytes are too many for a bundle, or its name is too long")
        self._sums[name] = len(content), hashlib.sha256(content).hexdigest()
        self._zip.writestr(ZipInfo(name, TIME), content)

    def held(self, name: str) -> tuple[int, str]:
        """The size and the SHA-256 of a file in it."""
        return self._sums[name]

    def end(self) -> None:
        """Adds the checksums."""
        lines = [f"{digest}  {name}\n" for name, (_, digest) in self._sums.items()]
        self.add(SUMS, "".join(lines).encode())
        self._zip.comment = COMMENT + b"0" * DIGITS
        self._zip.close()
        digest = digest_of(self._file)
        self._file.seek(-DIGITS, os.SEEK_END)
        self._file.write(digest)
