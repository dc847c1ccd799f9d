"""What was lost while results were shown.

Whatever goes wrong there costs what it concerns and nothing else: the user gets a line, and the exit code says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import OrchestratorError

log = logging.getLogger(__name__)


class Losses:
    """Collects a line for each thing that could not be shown; true once there is one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.lines)

    @contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """Ends the block at its first error, which makes the line: ``what``, a colon and the cause. ``--debug`` shows
        where it came from."""
        try:
            yield
        except Exception as error:
            self.lines.append(f"{what}: {cause(error)}")
            log.debug(what, exc_info=True)


def cause(error: Exception) -> str:
    """Why, in one line: in the words of the system where it has some, with the file that it tells of."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, OrchestratorError):
        return str(error).partition("\n")[0]
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
