"""How much CO2 a kilowatt-hour stands for, as the user states it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

ALLOWED = "allowed: grams of CO2 for a kilowatt-hour, such as 400 g/kWh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Carbon:
    """``grams`` for a kilowatt-hour."""

    grams: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError."""
        parts = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*g/kWh\s*", text)
        if not parts:
            raise ValueError(f"given {text!r}; {ALLOWED}")
        return cls(grams=float(parts[1]))

    def __str__(self) -> str:
        return f"{self.grams:g} g/kWh"
