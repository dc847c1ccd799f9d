"""Words for people."""

from __future__ import annotations


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


def named(value: str, otherwise: str = "", shown: str | None = None) -> str:
    """Such as ``RAY_ADDRESS=auto`` for a value from the environment, else such as ``--address auto``. ``shown`` stands
    for a value that holds a secret."""
    text = value if shown is None else shown
    return f"{value.variable}={text}" if isinstance(value, FromEnvironment) else f"{otherwise} {text}".strip()
