"""The one way to the terminal while something runs."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from orchestrator.text import shown


def tell(console: Console, text: str, style: str = "") -> None:
    """Prints a text as it is, with no brackets, colons or numbers that mean something to the console."""
    console.print(styled(text, style), soft_wrap=True)


def remark(console: Console, text: str) -> None:
    """Prints what is not one of the sweep's results."""
    tell(console, text, "yellow")


def styled(text: str, style: str = "") -> Text:
    """A text that can do the terminal no harm and tells no secrets, whoever wrote it."""
    return Text(shown(text), style=style)
