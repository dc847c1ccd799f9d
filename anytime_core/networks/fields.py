"""What is wrong with the fields of a network, in words for ``config.refuse``. Numbers have bounds on both sides,
against slips of the keyboard, and checkpoints of somebody's hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

MOST_CHANNELS = 4096


def whole(name: str, value: object, most: int = MOST_CHANNELS) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{name} is {value!r}, must be a whole number"
    return None if 1 <= value <= most else f"{name} is {value}, must be between 1 and {most}"


def wholes(name: str, values: Sequence[object], most: int) -> Iterator[str]:
    """Of a field with a number for each scale."""
    if not values:
        yield f"{name} is empty, must hold a number for each scale"
    yield from filter(None, (whole(f"{name}.{index}", value, most) for index, value in enumerate(values)))


def share(name: str, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} is {value!r}, must be a number"
    return None if 0 <= value <= 1 else f"{name} is {value}, must be between 0 and 1"


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str | None:
    return None if value in allowed else f"{name} is {value!r}, must be one of {', '.join(allowed)}"


def told(network: Any, **usual: Any) -> Iterator[str]:
    """Such as ``channels=8``: the fields that are not as in the same network with these usual values and defaults, but
    for those that its label has already said, which ``usual`` holds as they are."""
    plain = replace(network, **{field.name: field.default for field in fields(network)} | usual)
    for field in fields(network):
        value = getattr(network, field.name)
        if value != getattr(plain, field.name):
            yield f"{field.name}={_short(value)}"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
