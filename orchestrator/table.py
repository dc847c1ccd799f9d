"""A table to be read, in whatever form: what ``render`` and the page show, and ``tables`` makes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One place of a table. ``spread`` is the standard deviation across seeds; ``best`` values stand in bold; ``mark``
    says in a word what is to know of the value, or why there is none."""

    value: float | int | str | None = None
    digits: int = 2
    spread: float | None = None
    best: bool = False
    mark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """``group`` is what stands above neighbouring columns together, such as a data set above its metrics."""

    name: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """``rows`` have one entry for each column. ``name`` is short, fit for a file; ``notes`` stand below."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def notes_on_bold(self) -> tuple[str, ...]:
        """The notes for where the best is in bold, not starred."""
        return tuple(re.sub(r"^\*:", "Bold:", note) for note in self.notes)

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"{self.name}: rows of different lengths"


def present(value: T) -> T | None:
    """None for what is no number, which no table has a word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decimals(value: float, digits: int) -> str:
    """What is rounded to zero has no sign."""
    return f"{value:z.{digits}f}"


def duration(seconds: float) -> str:
    """Such as 5 s, 1 min 05 s, 2 h 03 min or 3 d 04 h."""
    whole = round(seconds)
    for long, short, size, per in (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {long} {whole % size // per:02} {short}"
    return f"{whole} s"
