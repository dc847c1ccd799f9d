"""The command that compares two trials, or two sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from orchestrator.cli import options
from orchestrator.cli.output import load_to_show, say
from orchestrator.errors import UsageError
from orchestrator.places import Places

if TYPE_CHECKING:
    from orchestrator.analysis import sweep_difference, trial_difference
    from orchestrator.ledger.storage import Location
    from orchestrator.sweep.grid import Sweep

Side = TypeVar("Side")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One of the two: the sweep of a file, or a trial of it, which ``cell`` names."""

    sweep_file: Path
    places: Places
    cell: str = ""


@click.command()
@options.words("SWEEP.yaml [OTHER.yaml] [CELL [CELL]]")
@options.with_places(read_only=True)
@options.other_storage
@options.form(options.ROWS)
def diff(words: tuple[str, ...], places: Places, other_storage: Location | None, form: str) -> None:
    """Show what two trials, or two sweeps, differ in.

    With two CELLs: two trials, in config, code, environment, data and numbers, and from which epoch on. The second is
    one of OTHER.yaml, where that is given; a single CELL is that of both. Each CELL is one word, in quotes, as for
    `show`: "aann (7,16) cifar10 seed 1".

    Without CELLs: two sweeps, or one in two storages: differences of the cells in both as verdicts, paired by cell and
    seed, and what the cells, and the files, have alone. Bundles may stand in for sweep files.
    """
    from orchestrator.analysis import sweep_difference, trial_difference
    from orchestrator.report.views import sweep_difference as sweeps_view
    from orchestrator.report.views import trial_difference as trials_view

    a, b = _given(words, places, other_storage)
    if a.cell:
        say(trials_view.shown(trial_difference.compare(*_both(a, b, _trial)), form), form)
    else:
        say(sweeps_view.shown(sweep_difference.compare(*_both(a, b, _sweep)), form), form)


def _given(words: Sequence[str], places: Places, other_storage: Location | None) -> tuple[Given, Given]:
    """The two that are meant. Raises UsageError for words that name another number of them."""
    from orchestrator.inference.lookup import is_sweep
    from orchestrator.ledger.bundle import SUFFIX

    first, *cells = words
    other = cells.pop(0) if cells and (is_sweep(cells[0]) or cells[0].endswith(SUFFIX)) else first
    elsewhere = other != first or other_storage is not None
    if not cells and not elsewhere:
        raise UsageError(f"diff {first}: give another sweep, --other-storage, or two cells of this sweep")
    if len(cells) == 1 and not elsewhere:
        raise UsageError(f"diff {first} {cells[0]!r}: give the other cell, too, or OTHER.yaml, or --other-storage")
    if len(cells) > 2:
        raise UsageError(
            f"diff: {len(cells)} cells are given, {', '.join(map(repr, cells))}; allowed: two, each in quotes"
        )
    own, *rest = cells or [""]
    a = Given(sweep_file=Path(first), places=options.places_at(Path(first), places.storage), cell=own)
    there = options.other_places(Path(other), other_storage)
    b = Given(sweep_file=Path(other), places=there, cell=(rest or [own])[0])
    return a, b


def _both(a: Given, b: Given, read: Callable[[Sweep, Given], Side]) -> tuple[Side, Side]:
    """One is read before the other's file is, whose extensions take the place of its own."""
    sweep = load_to_show(a.sweep_file, a.places)
    side = read(sweep, a)
    same = (a.sweep_file, a.places) == (b.sweep_file, b.places)
    return side, read(sweep if same else load_to_show(b.sweep_file, b.places), b)


def _trial(sweep: Sweep, given: Given) -> trial_difference.Side:
    from orchestrator.analysis import trace, trial_difference

    ledger = given.places.ledger
    return trial_difference.side(trace.find_stored(sweep, given.cell, ledger), ledger)


def _sweep(sweep: Sweep, given: Given) -> sweep_difference.Side:
    from orchestrator.analysis import sweep_difference

    return sweep_difference.read(sweep, given.places.ledger)
