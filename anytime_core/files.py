"""Files that are either whole or as they were. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

Guard = Callable[[], AbstractContextManager[object]]
"""Entered for the moment in which a file takes its place; forbids that by raising."""


def write_atomically(path: Path, content: bytes, guard: Guard = nullcontext) -> None:
    """After a return the file is whole and on disk; after a kill it is the old one, or whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with guard():
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
