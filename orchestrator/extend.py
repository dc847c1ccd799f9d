"""The door for reports of your own: tests of wins, tables and figures, which a sweep file that lists the extension may
name under ``report:``.

A test of wins is given paired differences in percentage points, method's error less baseline's, one at least, and
gives the chance of so clear a win by luck alone. Where a report compares by something else than errors, differences are
in its unit, and still negative where the method is better::

    @win_test("median-shift")
    def median_shift(differences):
        return 0.01 if numpy.median(differences) < -1 else 1.0

A table is given all numbers of the sweep and arranges some of them; a figure is given all results and gives panels of
curves. Keep them in a file apart from parts of methods: whatever changes in a file of parts makes its trials new.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numpy import float64
from numpy.typing import NDArray

from anytime_core.extend import ExtensionError
from orchestrator.analysis.curves import Curve, Panel, Results
from orchestrator.analysis.tables import ErrorRow, Tables, WinRow
from orchestrator.extensions import additions
from orchestrator.table import Column, Entry, Table

__all__ = [
    "Column",
    "Curve",
    "Entry",
    "ErrorRow",
    "ExtensionError",
    "Panel",
    "Results",
    "Table",
    "Tables",
    "WinRow",
    "figure",
    "table",
    "win_test",
]

WinTest = TypeVar("WinTest", bound=Callable[[NDArray[float64]], float])
Arrange = TypeVar("Arrange", bound=Callable[[Tables], Table])
Panels = TypeVar("Panels", bound=Callable[[Results], list[Panel]])


def win_test(name: str) -> Callable[[WinTest], WinTest]:
    """Makes a function of paired differences known as a test, for ``report: {p_value: NAME}``."""
    return additions.add(additions.WIN_TEST, name)


def table(name: str) -> Callable[[Arrange], Arrange]:
    """Makes a function that arranges the numbers of a sweep known as a table, for ``report: {tables: [NAME]}``."""
    return additions.add(additions.TABLE, name)


def figure(name: str, caption: str) -> Callable[[Panels], Panels]:
    """Makes a function that gives the panels of a figure known, for ``report: {figures: [NAME]}``."""
    return additions.add(additions.FIGURE, name, caption)
