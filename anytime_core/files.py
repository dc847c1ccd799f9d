"""Files that are either whole or as they were, on a disk or wherever a Folder keeps them. Standard library only."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

Guard = Callable[[], AbstractContextManager[object]]
"""Entered for the moment in which a file takes its place; forbids that by raising."""

UNFINISHED = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""The names under which ``write_atomically`` writes."""
STALE = 3600.0
"""Seconds; a file that is still unfinished then has no writer any more."""


def user_cache() -> Path | None:
    """The folder for what may be deleted at any time; None where there is no home, as in some containers."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "anytime_core"
    return folder if folder.is_absolute() else None


def write_atomically(path: Path, content: bytes, guard: Guard = nullcontext) -> None:
    """After a return the file is whole and on disk; after a kill it is the old one, or whole.

    Raises OSError that names ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with guard():
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Folder(Protocol):
    """Files by name, each of which appears whole. A name may have parts, as ``trials/ID/result.json`` has.

    All raise OSError where the files cannot be reached.
    """

    def address(self, name: str) -> str:
        """Where a file is, for people."""

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError, or another OSError where it is no file."""

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None: ...

    def delete(self, name: str) -> None:
        """No fault where there is none."""

    def names(self, below: str = "") -> list[str]:
        """What is directly below a name; nothing where there is nothing."""

    def below(self, name: str) -> Folder: ...

    def tidy(self) -> None:
        """Drops what writers that were killed left directly in this folder, an hour ago."""


class LocalFolder:
    """A Folder on a disk of this machine, or on one that it shares."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def address(self, name: str) -> str:
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes, guard: Guard = nullcontext) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, guard)

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def names(self, below: str = "") -> list[str]:
        try:
            return os.listdir(self.path / below)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def below(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    def tidy(self) -> None:
        """Not the file that another process writes just now: one that was given up for dead may still be at work."""
        for name in filter(UNFINISHED.fullmatch, self.names()):
            with suppress(FileNotFoundError):
                if (self.path / name).stat().st_mtime < time.time() - STALE:
                    self.delete(name)


def folder_at(place: Folder | Path | str) -> Folder:
    return LocalFolder(place) if isinstance(place, Path | str) else place
