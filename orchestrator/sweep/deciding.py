"""Adds seeds to a sweep until its comparisons are decided, and no further.

A sweep with comparisons has a pool of seeds in a fixed order. All methods are trained with the first few. Then rounds
follow, one seed each, in which those methods and places are trained whose comparison is open. A round begins once every
trial that an open comparison needs of the rounds before has ended. So what is trained, and what is decided, depends on
the records of trials alone: not on their order, on the machine, or on how often somebody looked.

Each comparison bets against "a pair is won with probability at most 1/2, whatever came before" (``stats.sequential``).
Pairs come in a fixed order, seed by seed. The reciprocal of the largest e-value so far is a p-value that holds at any
time, and Holm's correction over these keeps the chance of any false decision below the level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from statistics import fmean

from anytime_core.cost import trial_costs
from orchestrator.stats.sequential import Evidence, e_value
from orchestrator.sweep.comparisons import Comparison, Outcome, Place, interleaved, place_of
from orchestrator.sweep.device_time import device_hours, gpu_share
from orchestrator.sweep.limits import AtMost
from orchestrator.sweep.metrics import AVERAGE, milestones
from orchestrator.sweep.trial import Cell, Trial, TrialRecord

Find = Callable[[Comparison, Place, int], Outcome | None]
"""The outcome of the pair of a comparison at a place, of one seed; None while it is unknown."""


class Decision(StrEnum):
    OPEN = "open"
    BETTER = "better"
    NO_BETTER = "no better"
    """In at least half of the pairs the method gains no more than the rope."""
    OUT_OF_REACH = "out of reach"
    """Not even winning every pair that is left would decide it."""
    SPENT = "undecided"
    """The hours or the seeds are used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a comparison stands. ``path`` holds the e-value after each pair, ties too; it is decided once the largest
    reaches ``threshold``, which falls as other comparisons are. ``clear`` counts the pairs that the method won by more
    than the rope, ``seeds`` the seeds of which all pairs were compared."""

    comparison: Comparison
    decision: Decision
    threshold: float
    wins: int
    losses: int
    ties: int
    clear: int
    seeds: int
    path: tuple[float, ...]

    @property
    def is_open(self) -> bool:
        return self.decision is Decision.OPEN

    @property
    def e(self) -> float:
        """As large as it ever was: that is what counts."""
        return max((1.0, *self.path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Deciding:
    """What a sweep is to decide. ``seeds`` are the pool, in the order in which they are added, of which the ``first``
    few are trained in any case; ``cells`` are the places of all of them, with their trials. ``at_most`` is what all
    trials together may take of devices. ``standings`` follow from the records, and so does ``added``: how many seeds
    each method has at each place."""

    comparisons: tuple[Comparison, ...]
    level: float
    first: int
    seeds: tuple[int, ...]
    rope: float
    cells: Mapping[Cell, Trial]
    at_most: tuple[AtMost, ...] = ()
    standings: tuple[Standing, ...] = ()
    added: Mapping[tuple[str, Place], int] = field(default_factory=dict)
    _by_method: dict[str, dict[Place, tuple[Cell, Trial]]] = field(default_factory=dict, compare=False, repr=False)
    """The places of each method in ``cells``, with one of its trials there, once somebody has asked: a simulation does
    so hundreds of times."""

    @property
    def is_over(self) -> bool:
        return not any(standing.is_open for standing in self.standings)

    def places(self, comparison: Comparison) -> list[Place]:
        """Where both methods are trained, in the order in which their pairs count."""
        if not self._by_method:
            for cell, trial in self.cells.items():
                if cell.unit is None:
                    self._by_method.setdefault(cell.method, {}).setdefault(place_of(cell), (cell, trial))
        own, other = (self._by_method[method] for method in (comparison.method, comparison.baseline))
        both = (place for place in own if place in other and comparison.covers(place))
        return interleaved(place for place in both if _reaches(*own[place], comparison.metric))

    def includes(self, cell: Cell) -> bool:
        """Whether the cell is of a seed that was added for its method and place, or one of the first."""
        turn = self.seeds.index(cell.seed)
        return turn < self.added.get((cell.method, place_of(cell)), self.first)

    def seen(self, cells: Mapping[Cell, str], records: Mapping[str, TrialRecord], also: Iterable[str] = ()) -> Deciding:
        """What these records make of it. ``cells`` name the trial of each place, also those that tuning has chosen;
        ``also`` are trials of the sweep that stand in no table, and take time too."""
        meter = _Meter(self, cells, records, also) if self.at_most else None
        return self.played(self.outcomes(cells, records), meter)

    def outcomes(self, cells: Mapping[Cell, str], records: Mapping[str, TrialRecord]) -> Find:
        """Those of pairs of which both trials are there and have ended."""
        ended = {
            (cell.method, place_of(cell), cell.seed): (cell, record)
            for cell, trial_id in cells.items()
            if cell.unit is None and (record := records.get(trial_id))
        }

        def find(comparison: Comparison, place: Place, seed: int) -> Outcome | None:
            own, other = (ended.get((name, place, seed)) for name in (comparison.method, comparison.baseline))
            return comparison.outcome(own, other, self.rope) if own and other else None

        return find

    def played(self, find: Find, meter: _Meter | None = None) -> Deciding:
        """Round after round, as far as outcomes are known and something is open."""
        rounds = _Rounds(self, find)
        for turn, seed in enumerate(self.seeds):
            if turn >= self.first:
                if meter and not meter.is_whole:
                    break
                if meter and not meter.affords(rounds.wanted, turn):
                    rounds.give_up()
                if not rounds.open:
                    break
                rounds.added |= dict.fromkeys(rounds.wanted, turn + 1)
            if not rounds.compare(seed):
                break
            if turn >= self.first - 1:
                rounds.settle(left=len(self.seeds) - turn - 1)
        return replace(self, standings=rounds.standings, added=rounds.added)


def trained_for(comparison: Comparison, places: Iterable[Place]) -> Iterator[tuple[str, Place]]:
    """The methods and places that a seed of a comparison trains."""
    for place in places:
        yield comparison.method, place
        yield comparison.baseline, place


def _reaches(cell: Cell, trial: Trial, metric: str) -> bool:
    """Whether the network has a prediction at that fraction of its cost. One whose code is gone has, as far as anybody
    knows."""
    costs = cell.own.costs if cell.own else tuple(trial_costs(trial.config))
    return metric == AVERAGE or not costs or metric in dict(milestones(costs))


class _Course:
    """One comparison on its way, pair by pair."""

    def __init__(self, comparison: Comparison, places: Sequence[Place]) -> None:
        self.comparison, self.places = comparison, places
        self.evidence, self.doubt = Evidence(), Evidence()
        self.ties = self.seeds = 0
        self.path: list[float] = []
        self.peak = 1.0
        self.decision = Decision.OPEN

    @property
    def is_open(self) -> bool:
        return self.decision is Decision.OPEN

    def compare(self, find: Find, seed: int) -> bool:
        """Counts the pairs of a seed up to the first that is unknown. Whether there was none."""
        for place in self.places:
            outcome = find(self.comparison, place, seed)
            if outcome is None:
                return False
            self._count(outcome)
        self.seeds += 1
        return True

    def _count(self, outcome: Outcome) -> None:
        if outcome.sign:
            self.evidence.add(outcome.sign > 0)
        else:
            self.ties += 1
        if outcome.clear is not None:
            self.doubt.add(not outcome.clear)
        self.path.append(self.evidence.e)
        self.peak = max(self.peak, self.path[-1])

    def could_reach(self, seeds: int) -> float:
        """The largest e-value that so many more seeds can give."""
        return max(self.peak, _largest(self.evidence.wins + seeds * len(self.places), self.evidence.losses))

    def standing(self, threshold: float) -> Standing:
        return Standing(
            comparison=self.comparison,
            decision=self.decision,
            threshold=threshold,
            wins=self.evidence.wins,
            losses=self.evidence.losses,
            ties=self.ties,
            clear=self.doubt.losses,
            seeds=self.seeds,
            path=tuple(self.path),
        )


@lru_cache(maxsize=1 << 14)
def _largest(wins: int, losses: int) -> float:
    return float(e_value(wins, losses))


class _Rounds:
    """Rounds under way: where each comparison stands, and how many seeds have been added where."""

    def __init__(self, deciding: Deciding, find: Find) -> None:
        self._find, self._one = find, 1 / deciding.level
        self._courses = [_Course(it, deciding.places(it)) for it in deciding.comparisons]
        self._reached: dict[Comparison, float] = {}
        self.added: dict[tuple[str, Place], int] = {}

    @property
    def standings(self) -> tuple[Standing, ...]:
        now = self._threshold()
        return tuple(it.standing(self._reached.get(it.comparison, now)) for it in self._courses)

    @property
    def open(self) -> list[_Course]:
        return [course for course in self._courses if course.is_open]

    @property
    def wanted(self) -> set[tuple[str, Place]]:
        """The methods and places that the next round trains: a baseline of several comparisons once."""
        return {each for course in self.open for each in trained_for(course.comparison, course.places)}

    def compare(self, seed: int) -> bool:
        """Counts the pairs of a seed. Whether all were known."""
        known = [course.compare(self._find, seed) for course in self.open]  # each, whatever the others lack
        return all(known)

    def settle(self, left: int) -> None:
        """Decides what can be decided, when so many seeds are left."""
        self._decide(Decision.BETTER, lambda it: it.peak >= self._threshold())
        self._decide(Decision.NO_BETTER, lambda it: it.doubt.e >= self._one)
        if left:
            self._decide(Decision.OUT_OF_REACH, lambda it: it.could_reach(left) < self._lowest())
        else:
            self.give_up()

    def give_up(self) -> None:
        self._decide(Decision.SPENT, lambda it: True)

    def _decide(self, decision: Decision, holds: Callable[[_Course], bool]) -> None:
        """Again until nothing changes: each comparison that is decided changes what the others must reach."""
        while decided := [course for course in self.open if holds(course)]:
            threshold = self._threshold()
            for course in decided:
                course.decision = decision
                self._reached[course.comparison] = threshold

    def _threshold(self) -> float:
        """Holm's: each that is better lowers it for the others."""
        better = sum(course.decision is Decision.BETTER for course in self._courses)
        return self._one * max(len(self._courses) - better, 1)

    def _lowest(self) -> float:
        """That the threshold of an open comparison can come to, if all others that are open are better."""
        return self._threshold() - self._one * (len(self.open) - 1)


class _Meter:
    """Whether the next round fits into what all trials may take of their devices. A trial is expected to take as long
    as those of its method and place did so far."""

    def __init__(
        self,
        deciding: Deciding,
        cells: Mapping[Cell, str],
        records: Mapping[str, TrialRecord],
        also: Iterable[str],
    ) -> None:
        self._limits, first = deciding.at_most, frozenset(deciding.seeds[: deciding.first])
        self._begun = {trial_id for cell, trial_id in cells.items() if cell.seed in first}.union(also)
        self.is_whole = self._begun <= records.keys()
        """Whether all trials of the first seeds have ended, also those of methods that nothing compares."""
        by_place = {(cell.method, place_of(cell), cell.seed): name for cell, name in cells.items() if cell.unit is None}
        self._ids: dict[tuple[str, Place], list[str]] = {}
        for method, place in dict.fromkeys((method, place) for method, place, _ in by_place):
            self._ids[method, place] = [by_place.get((method, place, seed), "") for seed in deciding.seeds]
        self._records = records

    def affords(self, wanted: Iterable[tuple[str, Place]], turn: int) -> bool:
        """Whether a round of these may begin. If so, its trials count as begun."""
        new = {self._ids[each][turn]: self._ids[each][:turn] for each in wanted}  # two methods may share a trial
        new = {name: before for name, before in new.items() if name not in self._begun}
        for limit in self._limits:
            used = sum(self._hours(name, limit) for name in self._begun)
            expected = sum(fmean(self._hours(name, limit) for name in before) for before in new.values())
            if used + expected > limit.amount:
                return False
        self._begun |= new.keys()
        return True

    def _hours(self, trial_id: str, limit: AtMost) -> float:
        """What a trial took of the limit's unit, which is one of ``limits.HOURS``."""
        record = self._records.get(trial_id)
        if record is None or (gpu_share(record) is None) == (limit.unit == "gpu-hours"):
            return 0.0
        return device_hours(record) or 0.0
