"""``decide:`` of a sweep file: which comparisons of methods it is to decide, and what that may take."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from orchestrator.stats.sequential import e_value
from orchestrator.sweep.comparisons import ALL, Comparison, Place
from orchestrator.sweep.deciding import Deciding
from orchestrator.sweep.limits import AtMost
from orchestrator.sweep.trial import Cell, Resources, Trial
from orchestrator.sweepfile.document import Document, Fault
from orchestrator.text import counted

if TYPE_CHECKING:
    from orchestrator.sweepfile.schema import SweepFile

LEVELS = "must be a chance of at most 50 %, such as 5 % or 0.05"
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _level(value: Any) -> Any:
    parts = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*(%?)\s*", str(value))
    if isinstance(value, bool) or not parts or not 0 < (level := float(parts[1]) / (100 if parts[2] else 1)) <= 0.5:
        raise ValueError(f"given {value!r}; {LEVELS}")
    return level


def _comparison(value: Any) -> Any:
    return Comparison.of(value if isinstance(value, str) else str(value))


def _distinct(values: list[Comparison]) -> list[Comparison]:
    if repeated := dict.fromkeys(str(value) for value in values if values.count(value) > 1):
        raise ValueError(f"asks twice: {', '.join(repeated)}")
    return values


class AtMostInAll(BaseModel):
    """How many ``seeds`` a cell may come to have, and what all trials together may take of their devices: hours of
    GPUs, or of cores where trials use no GPU."""

    seeds: Annotated[int, Field(ge=1)] | None = None
    gpu_hours: Hours | None = None
    cpu_hours: Hours | None = None

    @property
    def hours(self) -> tuple[AtMost, ...]:
        given = {"gpu-hours": self.gpu_hours, "cpu-hours": self.cpu_hours}
        return tuple(AtMost(amount=amount, unit=unit) for unit, amount in given.items() if amount is not None)


class Decide(BaseModel):
    """All methods are trained with the ``first`` seeds; then seeds are added in those methods and cells whose
    comparison is open. Each entry of ``compare`` is such as ``aann > ann at 1/2``: is the first method better? With
    ``all`` in its place each other one is compared. The chance of any false answer is at most ``level``. A comparison
    is given up where at least half of the pairs gain no more than ``rope`` points, which without a word are the
    report's."""

    compare: Annotated[
        list[Annotated[Comparison, BeforeValidator(_comparison)]], Field(min_length=1), AfterValidator(_distinct)
    ]
    level: Annotated[float, BeforeValidator(_level)] = 0.05
    first: Annotated[int, Field(ge=1)] = 3
    at_most: AtMostInAll = AtMostInAll()
    rope: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def seeds(self, given: Sequence[int] | None) -> list[int]:
        """The pool, in the order in which they are added; ``given`` are those that the file names."""
        return list(range(self.at_most.seeds or 0)) if given is None else list(given[: self.at_most.seeds])


def deciding(file: SweepFile, cells: Mapping[Cell, Trial]) -> Deciding | None:
    """What a file without faults asks for. ``cells`` are those of all its seeds."""
    if (asked := file.decide) is None:
        return None
    made = Deciding(
        comparisons=tuple(_expanded(asked.compare, {cell.method for cell in cells if cell.unit is None})),
        level=asked.level,
        first=min(asked.first, len(file.pool)),
        seeds=tuple(file.pool),
        rope=file.report.rope if asked.rope is None else asked.rope,
        cells=cells,
        at_most=asked.at_most.hours,
    )
    return replace(made, comparisons=tuple(_distinct_places(made)))


def _distinct_places(made: Deciding) -> Iterator[Comparison]:
    """Each question once, however its place is spelt: one that is asked twice would raise the bar for all."""
    seen = set()
    for one in made.comparisons:
        question = one.method, one.baseline, one.metric, tuple(made.places(one))
        if question not in seen:
            yield one
        seen.add(question)


def unreached(document: Document, made: Deciding) -> Iterator[Fault]:
    """Questions that no pair can answer."""
    for one in made.comparisons:
        if not made.places(one):
            yield document.fault(
                ("decide", "compare"), f"{one}: no network there has a prediction at {one.metric} of its cost or before"
            )


def remarks(made: Deciding, resources: Resources) -> Iterator[str]:
    """What is allowed but seldom meant."""
    unused = "cpu-hours" if resources.share else "gpu-hours"
    if any(limit.unit == unused for limit in made.at_most):
        uses = "GPUs" if resources.share else "no GPU"
        yield f"decide: at_most: {unused.replace('-', '_')} limits nothing: the sweep's trials use {uses}"
    for one in made.comparisons:
        pairs = len(made.places(one)) * len(made.seeds)
        if (best := float(e_value(pairs, 0))) * made.level < 1:
            all_won = f"winning all {counted(pairs, 'pair')} gives e {best:.3g}"
            yield f"decide: {one}: {all_won}, and {1 / made.level:g} decides"


def _expanded(asked: Sequence[Comparison], methods: set[str]) -> dict[Comparison, None]:
    """Each once, in the order in which they are asked for."""
    found: dict[Comparison, None] = {}
    for one in asked:
        every = sorted(methods - {one.baseline}) if one.method == ALL and ALL not in methods else [one.method]
        found |= dict.fromkeys(
            Comparison(method=name, baseline=one.baseline, metric=one.metric, where=one.where) for name in every
        )
    return found


def seed_faults(document: Document, asked: Decide, given: Sequence[int] | None) -> Iterator[Fault]:
    """Of a pool of seeds that is no pool."""
    most = asked.at_most.seeds
    if given is None and most is None:
        yield document.fault(("decide", "at_most"), "seeds is missing: how many a cell may come to have, such as 20")
        return
    pool = asked.seeds(given)
    if given is not None and most is not None and most > len(given):
        yield document.fault(("decide", "at_most", "seeds"), f"given {most}; the sweep has {len(given)} seeds")
    if "first" in asked.model_fields_set and asked.first > len(pool):
        yield document.fault(("decide", "first"), f"given {asked.first}; must be at most the {len(pool)} seeds")


def comparison_faults(
    document: Document, asked: Decide, methods: Collection[str], places: Sequence[Place]
) -> Iterator[Fault]:
    """Comparisons of methods, or at places, that the sweep has not; ``methods`` are those that predict at all depths,
    ``places`` all networks on all data sets."""
    for index, one in enumerate(asked.compare):
        unknown = [name for name in (one.method, one.baseline) if name not in {*methods, ALL}]
        unknown += [ALL] if ALL not in methods and (one.baseline == ALL or {*methods} <= {one.baseline}) else []
        if unknown:
            message = f"{one}: no method is {', '.join(unknown)}; allowed: {', '.join(methods)}"
            yield document.fault(("decide", "compare", index), message)
        elif places and not any(map(one.covers, places)):
            listed = ", ".join(dict.fromkeys([*(place.network for place in places), *(it.dataset for it in places)]))
            message = f"{one}: no cell is on {one.where}; words of cells are: {listed}"
            yield document.fault(("decide", "compare", index), message)
