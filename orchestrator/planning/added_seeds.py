"""How many seeds a sweep that decides is yet to add: by simulation, from where its comparisons stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from statistics import fmean

from anytime_core.seeds import named_seed
from orchestrator.sweep.comparisons import Comparison, Outcome, Place, place_of
from orchestrator.sweep.deciding import Deciding, Find, Standing, trained_for
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord

MOST_RUNS, FEWEST_RUNS = 200, 20
MOST_PAIRS = 40_000
"""In all runs together: a fifth of a second."""
LOW, HIGH = 0.1, 0.9
"""Of ten runs one ends below the first, one above the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A simulated number: its mean, and what 80 % of the runs lie between."""

    mean: float
    low: int
    high: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedSeeds:
    """``most`` trials may be added to those that the sweep has now, ``trials`` are expected to be; ``seeds`` are those
    that each open comparison is expected to need beyond the ones that it has compared."""

    most: int
    trials: Range
    seeds: Mapping[Comparison, Range]


def expected(sweep: Sweep, records: Mapping[str, TrialRecord]) -> AddedSeeds | None:
    """None where nothing is left to decide. How often a method wins is drawn anew for each run, by the pairs so far and
    a uniform prior. The runs ignore limits on hours. They are the same each time."""
    deciding = sweep.deciding
    if deciding is None or deciding.is_over:
        return None
    known = deciding.outcomes(sweep.cells, records)
    pairs = sum(len(deciding.places(it.comparison)) for it in deciding.standings if it.is_open) * len(deciding.seeds)
    runs = max(min(MOST_RUNS, MOST_PAIRS // max(pairs, 1)), FEWEST_RUNS)
    ended = [deciding.played(_imagined(known, deciding, Random(named_seed(run, "added seeds")))) for run in range(runs)]
    pool = _Pool(deciding, records)
    return AddedSeeds(
        most=pool.beyond(dict.fromkeys(_open(deciding), len(deciding.seeds))),
        trials=_range([pool.beyond(one.added) for one in ended]),
        seeds={
            it.comparison: _range([max(one.standings[index].seeds - it.seeds, 0) for one in ended])
            for index, it in enumerate(deciding.standings)
            if it.is_open
        },
    )


class _Pool:
    """The trials that a sweep may come to have, by method and place, in the order of their seeds."""

    def __init__(self, deciding: Deciding, records: Mapping[str, TrialRecord]) -> None:
        turns = {seed: turn for turn, seed in enumerate(deciding.seeds)}
        self._ids: dict[tuple[str, Place], list[tuple[int, str]]] = {}
        for cell, trial in deciding.cells.items():
            self._ids.setdefault((cell.method, place_of(cell)), []).append((turns[cell.seed], trial.id))
        now = (trial.id for cell, trial in deciding.cells.items() if deciding.includes(cell))
        self._there = {*now, *records}

    def beyond(self, added: Mapping[tuple[str, Place], int]) -> int:
        """How many trials it has not yet, and have not ended, of so many seeds of each method and place."""
        found = {name for each, seeds in added.items() for turn, name in self._ids[each] if turn < seeds}
        return len(found - self._there)


def _imagined(known: Find, deciding: Deciding, rng: Random) -> Find:
    """The outcomes that are known, and others drawn."""
    chances = {it.comparison: _Chances.drawn(it, rng) for it in deciding.standings}

    def find(comparison: Comparison, place: Place, seed: int) -> Outcome:
        return known(comparison, place, seed) or chances[comparison].outcome(rng)

    return find


@dataclass(frozen=True, slots=True)
class _Chances:
    """Of a tie, of a win among the other pairs, and of a clear one among the wins."""

    tie: float
    win: float
    clear: float

    @classmethod
    def drawn(cls, standing: Standing, rng: Random) -> _Chances:
        wins, losses, ties, clear = standing.wins, standing.losses, standing.ties, standing.clear
        return cls(
            tie=ties / (wins + losses + ties) if ties else 0.0,
            win=rng.betavariate(wins + 1, losses + 1),
            clear=rng.betavariate(clear + 1, wins - clear + 1),
        )

    def outcome(self, rng: Random) -> Outcome:
        if rng.random() < self.tie:
            return Outcome(0, clear=False)
        won = rng.random() < self.win
        return Outcome(1 if won else -1, clear=won and rng.random() < self.clear)


def _open(deciding: Deciding) -> set[tuple[str, Place]]:
    """The methods and places whose comparison is open."""
    open_ = [it.comparison for it in deciding.standings if it.is_open]
    return {each for comparison in open_ for each in trained_for(comparison, deciding.places(comparison))}


def _range(values: list[int]) -> Range:
    ordered, last = sorted(values), len(values) - 1
    return Range(mean=fmean(values), low=ordered[round(LOW * last)], high=ordered[round(HIGH * last)])
