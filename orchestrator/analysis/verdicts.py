"""What a sweep says of its methods: better, practically equal, worse, or undecided, and how far that reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from orchestrator.analysis.measurements import Measurements, triples
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.analysis.tables import Tables, compared_methods
from orchestrator.stats import paired, significance
from orchestrator.stats.bayes import Posterior, posterior
from orchestrator.stats.effects import Effect, effect
from orchestrator.stats.quantities import Quantity
from orchestrator.stats.scopes import SCOPES, Grouping, Scope
from orchestrator.stats.significance import LEVEL

TEST = "sign-flip"
"""The test of a verdict: its p-value and the interval of the mean difference say the same."""
BETTER, EQUAL, WORSE, UNDECIDED = "better", "equal", "worse", "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Of one method against the baseline, at one metric. ``word`` is ``better`` or ``worse`` where both the interval
    and the test say so, ``equal`` where the whole interval is within ``rope``, else ``undecided``. ``effect`` is of the
    metric's own numbers, in its own unit; ``rope`` is in points, and 0 for a metric of another unit.

    ``p`` is two-sided, and ``adjusted`` the same after Holm's correction over all verdicts of the sweep. ``cells`` and
    ``seeds`` are those compared, the latter the fewest and the most of a cell; ``dropped`` pairs lack an error. Of
    ``diverged`` pairs the method, the baseline or both have none because it diverged.
    """

    method: str
    baseline: str
    metric: str
    scope: str
    scale: str
    rope: float
    word: str
    effect: Effect | None
    p: float | None
    adjusted: float | None
    units: int
    cells: int
    seeds: tuple[int, int]
    datasets: tuple[str, ...]
    posterior: Posterior | None
    dropped: int
    diverged: tuple[int, int, int]

    @property
    def of(self) -> Scope:
        return SCOPES[self.scope]

    @property
    def quantity(self) -> Quantity:
        return QUANTITIES[self.metric]

    @property
    def wins(self) -> int:
        """The units of its effect in which the method is better."""
        return self.quantity.wins(self.effect) if self.effect else 0

    @property
    def holds_with_others(self) -> bool:
        """Whether it still stands after Holm's correction."""
        return self.adjusted is not None and self.adjusted <= LEVEL


def verdicts(tables: Tables) -> tuple[Verdict, ...]:
    """In the order of the methods, and of the metrics; metrics without a pair are left out."""
    report = tables.sweep.report
    if tables.measured is None:
        return ()
    return _verdicts(tables.measured, report.baseline, tables.scope, report.scale, report.rope)


@lru_cache(maxsize=1)
def _verdicts(measured: Measurements, baseline: str, scope: str, scale: str, rope: float) -> tuple[Verdict, ...]:
    """What is shown in several forms is worked out once."""
    return between(measured, [(name, baseline) for name in compared_methods(measured, baseline)], (scope, scale, rope))


def between(
    measured: Measurements, pairs: Iterable[tuple[str, str]], wishes: tuple[str, str, float]
) -> tuple[Verdict, ...]:
    """Of each method and its baseline, which are ``pairs``, at each metric, corrected for being several. ``wishes`` are
    scope, scale and rope, as a sweep's report has them; metrics without a pair are left out."""
    grouping = Grouping.of(wishes[0], triples(measured.experiments))
    places = [(*pair, metric) for pair in pairs for metric in measured.metrics]
    found = [each for place in places if (each := _verdict(measured, grouping, place, wishes))]
    adjusted = significance.holm([each.p for each in found])
    return tuple(replace(each, adjusted=p) for each, p in zip(found, adjusted, strict=True))


def _verdict(
    measured: Measurements, grouping: Grouping, place: tuple[str, str, str], wishes: tuple[str, str, float]
) -> Verdict | None:
    """``place`` is method, baseline and metric, ``wishes`` scope, scale and rope."""
    (method, baseline, metric), (scope, scale, points) = place, wishes
    quantity = QUANTITIES[metric]
    rope = quantity.rope(points)
    own, other = measured.of(method, metric), measured.of(baseline, metric)
    present = paired.comparable(own, other)
    if not present.any():
        return None
    lower, higher = (significance.p_value(*pair, TEST, grouping, scale) for pair in ((own, other), (other, own)))
    assert lower is not None, "there are pairs"
    assert higher is not None, "there are pairs"
    p, found = significance.two_sided(lower, higher), effect(own, other, grouping)
    compared = [measured.experiments[index] for index in np.flatnonzero(present)]
    per_cell = Counter((each.dataset, each.network) for each in compared).values()
    endless = np.isinf(own[present]), np.isinf(other[present])
    return Verdict(
        method=method,
        baseline=baseline,
        metric=metric,
        scope=scope,
        scale=scale,
        rope=rope,
        word=judged(found, (lower, higher), scale, rope, alike=bool((endless[0] == endless[1]).all())),
        effect=quantity.effect(found) if found else None,
        p=p,
        adjusted=None,
        units=grouping.restricted(present).count(),
        cells=len(per_cell),
        seeds=(min(per_cell), max(per_cell)),
        datasets=tuple(dict.fromkeys(each.dataset for each in compared)),
        posterior=_believed(own, other, grouping, rope),
        dropped=int((~present).sum()),
        diverged=(
            int((endless[0] & ~endless[1]).sum()),
            int((~endless[0] & endless[1]).sum()),
            int((endless[0] & endless[1]).sum()),
        ),
    )


def judged(found: Effect | None, sides: tuple[float, float], scale: str, rope: float, *, alike: bool) -> str:
    """The word of a verdict of losses. ``sides`` are the one-sided p-values of lower and of higher ones, which count
    trials that diverged; ``alike``: no pair has a trial that diverged beside one that did not."""
    decisive = None if found is None else found.mean_interval if scale == "points" else found.relative_interval
    if found is None or decisive is None:
        return UNDECIDED
    if alike and found.mean_interval and found.mean_interval.inside(rope):
        return EQUAL
    lower, higher = (significance.two_sided(p, 1.0) <= LEVEL for p in sides)
    return BETTER if lower and decisive.high < 0 else WORSE if higher and decisive.low > 0 else UNDECIDED


def _believed(own: paired.Floats, other: paired.Floats, grouping: Grouping, rope: float) -> Posterior | None:
    finite = np.isfinite(own) & np.isfinite(other)
    return posterior(grouping.restricted(finite).means(paired.differences(own[finite], other[finite])), rope)


def by_method(found: tuple[Verdict, ...]) -> Iterator[tuple[str, list[Verdict]]]:
    """The verdicts of each method."""
    for method in dict.fromkeys(each.method for each in found):
        yield method, [each for each in found if each.method == method]
