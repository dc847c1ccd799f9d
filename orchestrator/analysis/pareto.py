"""Which trained network of a sweep is best at each budget: the Pareto front over all of their predictions, those of
sequences included (section 3.3). A budget is what one image costs, in multiply-adds or, measured, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from anytime_core.result import TrialResult
from orchestrator.analysis import sequences
from orchestrator.analysis.curves import Curve, Panel, Results, grouped
from orchestrator.stats import eann
from orchestrator.sweep.trial import Cell
from orchestrator.table import Column, Entry, Table

MOST_CURVES = 8
"""Beside the front; those that are best over the widest budgets."""
DECADE = 10
OPTIMISTIC = "Networks are chosen by the errors that are shown: on other images they will be larger."


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """How budgets are shown: in a table multiplied by ``scale``, under a heading; in a figure by ``unit``, along an
    axis."""

    scale: float
    heading: str
    axis: str
    unit: float


MULTIPLY_ADDS = Measure(scale=1, heading="multiply-adds", axis="multiply-adds of one image (millions)", unit=1e-6)
MILLISECONDS = Measure(scale=1000, heading="ms", axis="time (ms)", unit=1e3)

Times = Mapping[str, Sequence[float]]
"""Seconds up to each prediction of a trial, by its id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A network, or a sequence: what has been spent when each of its answers is there, ascending, and its error in
    percent."""

    label: str
    trial_ids: tuple[str, ...]
    budgets: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """From ``budget`` on, until the next choice, nothing has a lower error than this answer, 0-based."""

    budget: float
    candidate: Candidate
    index: int

    @property
    def error(self) -> float:
        return self.candidate.errors[self.index]


def candidates(results: Results, times: Times | None = None) -> dict[str, list[Candidate]]:
    """All networks of a sweep that have finished, and all sequences of them, by data set. Without ``times``, budgets
    are multiply-adds."""
    by_dataset: dict[str, list[Candidate]] = {}
    for dataset, cells in grouped(results.sweep.cells, lambda cell: cell.dataset).items():
        there = [*_alone(results, cells, times), *_sequences(results, cells, times)]
        if there:
            by_dataset[dataset] = there
    return by_dataset


def _alone(results: Results, cells: Iterable[Cell], times: Times | None) -> Iterator[Candidate]:
    first = {results.sweep.cells[cell]: cell for cell in reversed(list(cells))}  # cells may share a trial
    for trial_id, cell in reversed(first.items()):
        if result := results.result(cell):
            yield Candidate(
                label=cell.label,
                trial_ids=(trial_id,),
                budgets=_budgets(trial_id, result, times),
                errors=result.errors,
            )


def _budgets(trial_id: str, result: TrialResult, times: Times | None) -> tuple[float, ...]:
    return tuple(result.costs if times is None else times[trial_id])


def _sequences(results: Results, cells: Iterable[Cell], times: Times | None) -> Iterator[Candidate]:
    """Of each method and seed, where all members have finished."""
    whole = [cell for cell in cells if cell.unit is None]
    for family in sequences.families(whole):
        networks = sequences.members(family)
        members = [cell for cell in family if cell.network in networks]
        for own in grouped(members, lambda cell: (cell.method, cell.seed)).values():
            finished = [result for cell in own if (result := results.result(cell))]
            if len(networks) > 1 and len(finished) == len(networks):
                yield _sequence(sorted(own), results, times)


def _sequence(cells: Sequence[Cell], results: Results, times: Times | None) -> Candidate:
    ids = [results.sweep.cells[cell] for cell in cells]
    members = [
        eann.Member(units=result.units, costs=_budgets(trial_id, result, times), errors=result.errors)
        for trial_id, cell in zip(ids, cells, strict=True)
        if (result := results.result(cell))
    ]
    curve, last = eann.sequence_curve(members), cells[-1]
    return Candidate(
        label=f"EANN {last.method} {' '.join(cell.network for cell in cells)} {last.dataset} seed {last.seed}",
        trial_ids=tuple(ids),
        budgets=tuple(point.cost for point in curve),
        errors=tuple(point.error for point in curve),
    )


def front(pool: Sequence[Candidate]) -> list[Choice]:
    """The answers to which no other is equal or better at no larger budget, by budget. Of equals the first."""
    choices = [
        Choice(budget=budget, candidate=candidate, index=index)
        for candidate in pool
        for index, budget in enumerate(candidate.budgets)
    ]
    best, kept = math.inf, []
    for choice in sorted(choices, key=lambda choice: (choice.budget, choice.error)):
        if choice.error < best:
            best = choice.error
            kept.append(choice)
    return kept


def table(dataset: str, pool: Sequence[Candidate], measure: Measure, notes: Sequence[str] = ()) -> Table:
    """A line for each choice."""
    most = max(candidate.budgets[-1] for candidate in pool)
    rows = [
        (
            Entry(value=measure.scale * choice.budget, digits=3),
            Entry(value=choice.budget / most, digits=4),
            Entry(value=choice.candidate.label),
            Entry(value=choice.index + 1),
            Entry(value=len(choice.candidate.budgets)),
            Entry(value=choice.error),
            Entry(value=" ".join(choice.candidate.trial_ids)),
        )
        for choice in front(pool)
    ]
    return Table(
        name=f"best-{dataset}",
        title=f"{dataset}: from which budget on which network is best, of {len(pool)}, stopped at which prediction",
        columns=(
            Column(name=measure.heading),
            Column(name="relative"),
            Column(name="network", numeric=False),
            Column(name="prediction"),
            Column(name="of"),
            Column(name="error %"),
            Column(name="trial", numeric=False),
        ),
        rows=tuple(rows),
        notes=(OPTIMISTIC, *notes),
    )


def panel(dataset: str, pool: Sequence[Candidate], measure: Measure, y_label: str, notes: Sequence[str] = ()) -> Panel:
    """The front, and what each network on it would answer if it were interrupted."""
    choices = front(pool)
    shown = _widest(choices)
    curves = [
        Curve(label=one.label, x=tuple(measure.unit * x for x in one.budgets), y=one.errors)
        for one in pool
        if one in shown
    ]
    best = Curve(
        label="best of all",
        x=tuple(measure.unit * choice.budget for choice in choices),
        y=tuple(choice.error for choice in choices),
        reference=True,
    )
    return Panel(
        kind="steps",
        title=f"{dataset}: {len(pool)} networks and sequences",
        x_label=measure.axis,
        y_label=y_label,
        curves=(*curves, best),
        group=(dataset,),
        log_x=max(choice.budget for choice in choices) > DECADE * choices[0].budget,
        notes=tuple(notes),
    )


def _widest(choices: Sequence[Choice]) -> list[Candidate]:
    """By the ratio of the budgets over which they are best."""
    widths: dict[int, float] = {}
    ends = [*(choice.budget for choice in choices[1:]), choices[-1].budget * 2]
    for choice, end in zip(choices, ends, strict=True):
        widths[id(choice.candidate)] = widths.get(id(choice.candidate), 0) + math.log(end / choice.budget)
    ranked = {id(choice.candidate): choice.candidate for choice in choices}
    return [ranked[key] for key in sorted(widths, key=lambda key: -widths[key])[:MOST_CURVES]]
