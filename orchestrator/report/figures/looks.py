"""How things are drawn wherever they appear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NOTE: dict[str, Any] = {"fontsize": 6, "color": "#555555"}


@dataclass(frozen=True, slots=True)
class Look:
    """How one label is drawn wherever it appears: no two alike in colour and dashes, or in marker."""

    colour: str
    dashes: str
    marker: str
