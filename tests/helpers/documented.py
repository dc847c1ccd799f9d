"""The example of docs/networks.md, as a user would copy it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def block(language: str) -> str:
    """The first block of code of the page."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def write(folder: Path, **changes: str) -> Path:
    """Leaves ``nets.py`` and the sweep in the folder; ``changes`` are of lines of the sweep, by their keys."""
    (folder / "nets.py").write_text(block("python"))
    text = block("yaml")
    for key, value in changes.items():
        text, count = re.subn(rf"^{key}:.*\n(?:  .*\n)*", f"{key}: {value}\n", text, flags=re.MULTILINE)
        text += "" if count else f"{key}: {value}\n"
    path = folder / "perceptrons.yaml"
    path.write_text(text)
    return path
