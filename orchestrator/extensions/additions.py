"""What extensions add to reports: tests of wins, tables and figures, beside the parts of methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from anytime_core.extend import ExtensionError

WIN_TEST, TABLE, FIGURE = "win_test", "table", "figure"
ADDED: dict[str, dict[str, Addition]] = {WIN_TEST: {}, TABLE: {}, FIGURE: {}}
"""By kind and name, those of active extensions."""
NAME = re.compile(r"[a-z][a-z0-9_-]*")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """``caption`` is a figure's."""

    function: Callable[..., Any]
    caption: str = ""


def add(kind: str, name: str, caption: str = "") -> Callable[[F], F]:
    """Makes a function known by ``name``, which is part of the names of files. Raises ExtensionError."""

    def known(function: F) -> F:
        if not NAME.fullmatch(name):
            raise ExtensionError(f"{kind} {name!r} must be a name of small letters, digits, - and _, such as my_{kind}")
        other = ADDED[kind].get(name)
        if other and other.function.__module__ != function.__module__:
            raise ExtensionError(f"{kind} {name} is one of {other.function.__module__} already; give it another name")
        ADDED[kind][name] = Addition(function=function, caption=caption)
        return function

    return known
