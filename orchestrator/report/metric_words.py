"""What is said of the metrics that methods are compared by."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.analysis.quantities import ERRORS, QUANTITIES
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS


def notes(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """What each is, in which unit, and which way is better; nothing of the columns that every table of errors has."""
    return () if metrics == METRICS else tuple(map(_note, metrics))


def _note(metric: str) -> str:
    quantity = QUANTITIES[metric]
    unit = f"in {quantity.unit}, " if quantity.unit else ""
    return f"{metric}: {quantity.meaning}; {unit}{quantity.better} is better."


def all_errors(metrics: Iterable[str]) -> bool:
    """Whether all are errors of the paper's tables."""
    return all(metric in ERRORS for metric in metrics)


def in_points(metrics: Iterable[str]) -> bool:
    """Whether differences are in points by every metric."""
    return all(QUANTITIES[metric].in_points for metric in metrics)


def value_of(metrics: Iterable[str]) -> str:
    """What a pair is dropped for the lack of."""
    return "an error" if all_errors(metrics) else "a number"


def kind(sweep: Sweep) -> str:
    """Of which images the errors are; where data sets differ, a note says which are which."""
    names = {cell.dataset for cell in sweep.cells}
    return "Test error" if not sweep.validated else "Validation error" if names == sweep.validated else "Error"


def kind_notes(sweep: Sweep) -> tuple[str, ...]:
    names = dict.fromkeys(cell.dataset for cell in sweep.cells)
    held, tested = ([n for n in names if (n in sweep.validated) is wanted] for wanted in (True, False))
    return (f"Validation error: {', '.join(held)}; test error: {', '.join(tested)}.",) if held and tested else ()
