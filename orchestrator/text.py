"""Words for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Such as ``1 trial`` and ``2 trials``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


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
