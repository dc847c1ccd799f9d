"""What values may be, in words for whoever gave them. Each check returns a fault, or None."""

from __future__ import annotations

import math


def refuse(*faults: str | None) -> None:
    """Raises one ValueError that lists every fault."""
    if present := [fault for fault in faults if fault]:
        raise ValueError("; ".join(present))


def whole(name: str, value: object, bound: int) -> str | None:
    """A whole number of at least ``bound``."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{name} is {value!r}, must be a whole number"
    return None if value >= bound else f"{name} is {value}, must be at least {bound}"


def within(name: str, value: object, low: float, high: float = math.inf) -> str | None:
    """A finite number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{name} is {value!r}, must be a finite number"
    allowed = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
    return None if low <= value <= high else f"{name} is {value}, must be {allowed}"


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str | None:
    return None if value in allowed else f"{name} is {value!r}, must be one of {allowed}"
