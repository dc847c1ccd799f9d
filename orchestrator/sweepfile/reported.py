"""What active extensions add to reports, put into the registries that a sweep file's ``report:`` is checked against."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import wraps
from typing import Any

from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.extensions.additions import ADDED, FIGURE, TABLE, WIN_TEST, Addition
from orchestrator.extensions.importing import located
from orchestrator.report.figures import FIGURES, FigureKind
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.report.layouts import LAYOUTS, Layout
from orchestrator.stats.significance import TESTS

Made = Callable[[str, Addition], Any]
REGISTRIES: dict[str, tuple[MutableMapping[str, Any], Made]] = {
    WIN_TEST: (TESTS, lambda name, added: _told(f"test of wins {name}", added.function)),
    TABLE: (LAYOUTS, lambda name, added: Layout(_told(f"table {name}", added.function))),
    FIGURE: (FIGURES, lambda name, added: FigureKind(added.caption, _told(f"figure {name}", added.function))),
}
_installed: dict[str, dict[str, Any]] = {kind: {} for kind in REGISTRIES}


def install() -> None:
    """Takes out what an earlier sweep's extensions added, and puts in what the active ones add. Raises UsageError for a
    name that is there already."""
    for kind, (registry, _) in REGISTRIES.items():
        for name in _installed[kind]:
            del registry[name]
        _installed[kind] = {}
    for kind, (registry, made) in REGISTRIES.items():
        if taken := [name for name in ADDED[kind] if name in registry]:
            raise UsageError(f"{kind} {', '.join(taken)} is one of ours; give it another name")
        _installed[kind] = {name: made(name, added) for name, added in ADDED[kind].items()}
        registry.update(_installed[kind])


def _told(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors name it and its line."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (OrchestratorError, UnsuitedError):
            raise
        except (Exception, SystemExit) as error:  # an extension may raise anything
            raise UsageError(f"{what}: {located(error)}{type(error).__name__}: {error}") from error

    return called
