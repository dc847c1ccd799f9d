"""The one way to the terminal while something runs."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from orchestrator.text import shown


def tell(console: Console, text: str, style: str = "") -> None:
    """Prints a text as it is: no bracket, colon or number in it means something to the console."""
    console.print(shown(text), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def remark(console: Console, text: str) -> None:
    """Prints what is not one of the sweep's results."""
    tell(console, text, "yellow")


def styled(text: str, style: str = "") -> Text:
    """A text for the live view that can do the terminal no harm and tells no secrets, whoever wrote it."""
    return Text(shown(text), style=style)
