"""What was lost while results were shown.

Whatever goes wrong there costs what it concerns and nothing else: the user gets a line, and the exit code says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import OrchestratorError
from orchestrator.redaction import redacted
from orchestrator.text import first_line, said_by_system

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
            self.lines.append(redacted(f"{what}: {cause(error)}"))  # they are notes of the report, too
            log.debug(what, exc_info=True)


def cause(error: Exception) -> str:
    """Why, in one line: in the words of the system where it has some, with the file that it tells of."""
    if words := said_by_system(error):
        return words
    if isinstance(error, OrchestratorError):
        return str(error).partition("\n")[0]
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"
