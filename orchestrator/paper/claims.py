"""What the paper claims of its methods, whether that survives a sound test, and where the paper contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from anytime_core.config import MILESTONES, NetworkConfig
from anytime_core.cost import milestone_index, prediction_costs
from orchestrator.analysis.measurements import Measurements, triples
from orchestrator.analysis.tables import WinRow
from orchestrator.paper import reference
from orchestrator.stats import eann, significance
from orchestrator.stats.scopes import SCOPES, Grouping
from orchestrator.stats.significance import LEVEL, TESTS
from orchestrator.sweep.metrics import AVERAGE, METRICS
from orchestrator.table import Column, Entry, Table

BASELINE = "ann"
LEVELS = (LEVEL, 0.001)
PRINTED_THRESHOLDS = ("0.0598", "0.65")
"""Of section 4.4, for the two levels; the first is a misprint of 0.598."""

Place = tuple[str, str]
"""Method and metric."""
Percentages = Mapping[Place, float | None]
Words = tuple[str, str, str]
DIRECTIONS = "That a method improves is tested one-sidedly, that it degrades two-sidedly."


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A sentence of the paper: the method's errors are lower than ANN's in this metric, or else higher."""

    section: str
    method: str
    metric: str
    improves: bool

    @property
    def words(self) -> str:
        return f"{self.method} {'improves' if self.improves else 'degrades'}"

    def agrees_with(self, percent: float) -> bool:
        """Whether at least the percentage of wins is on its side."""
        return percent > 50 if self.improves else percent < 50


def _claims(section: str, method: str, verb: str, *metrics: str) -> Iterator[Claim]:
    for metric in metrics:
        yield Claim(section=section, method=method, metric=metric, improves=verb == "improves")


CLAIMS = (
    *_claims("4.4, D.5", "aann", "improves", "1/4", "1/2", "3/4", AVERAGE),
    *_claims("4.4", "milestone", "degrades", AVERAGE),  # "the overall performance"
    *_claims("D.5", "rwm", "degrades", *METRICS),
    *_claims("D.5", "exp3", "improves", "3/4"),
    *_claims("D.5", "exp3", "degrades", "1/4", "1/2", "1"),
    *_claims("D.5", "avgl", "improves", "1/2", "3/4", AVERAGE),
    *_claims("D.5", "avgl", "degrades", "1"),
)


def claims(measured: Measurements, wins: Sequence[WinRow]) -> Table:
    """Whether each claim survives each test, without and with Holm's correction."""
    rows = {(row.method, row.metric): row for row in wins}
    tested = {test: _tested(measured, list(rows), test, "cells") for test in TESTS}
    shown = []
    for claim in CLAIMS:
        entries = (entry for by_claim in tested.values() for entry in map(_survives, by_claim[claim]))
        shown.append((*_claimed(claim, rows[claim.method, claim.metric]), *entries))
    return Table(
        name="claims",
        title=f"The paper's claims, and whether they survive at {100 * LEVEL:g} %",
        columns=(
            *(Column(name=name, numeric=False) for name in ("section", "claim", "metric")),
            Column(name="wins %"),
            Column(name="on its side", numeric=False),
            *(Column(name=name, group=test, numeric=False) for test in TESTS for name in ("alone", "Holm")),
        ),
        rows=tuple(shown),
        notes=tuple(_claim_notes(tested, len(rows))),
    )


Tested = Mapping[Claim, tuple[float | None, float | None]]
"""The p-value of each claim, alone and with Holm's correction."""


def _tested(measured: Measurements, places: Sequence[Place], test: str, scope: str) -> Tested:
    """One test of each claim, in the direction of the claim. That a method improves is what the paper set out to show:
    one-sided. That one degrades is what it found: two-sided. Holm's correction is over all places, asked alike."""
    grouping = Grouping.of(scope, triples(measured.experiments))
    improving, degrading = [], []
    for method, metric in places:
        own, other = measured.of(method, metric), measured.of(BASELINE, metric)
        improving.append(significance.p_value(own, other, test, grouping))
        higher = significance.p_value(other, own, test, grouping)
        degrading.append(None if higher is None else min(2 * higher, 1.0))
    corrected = {True: significance.holm(improving), False: significance.holm(degrading)}
    index = {place: number for number, place in enumerate(places)}
    return {
        claim: ((improving if claim.improves else degrading)[place], corrected[claim.improves][place])
        for claim in CLAIMS
        for place in [index[claim.method, claim.metric]]
    }


def by_scope(measured: Measurements, wins: Sequence[WinRow]) -> Table:
    """What is left of each claim once it is of other networks or data sets than those that were tried."""
    places = [(row.method, row.metric) for row in wins]
    tested = {scope: _tested(measured, places, "sign-test", scope) for scope in SCOPES if scope != "seeds"}
    return Table(
        name="scopes",
        title=f"The paper's claims by what they are about, and whether they survive the sign test at {100 * LEVEL:g} %",
        columns=(
            *(Column(name=name, numeric=False) for name in ("claim", "metric")),
            *(
                Column(name=name, group=scope, numeric=name == "p")
                for scope in tested
                for name in ("p", "alone", "Holm")
            ),
        ),
        rows=tuple(
            (
                Entry(value=claim.words),
                Entry(value=claim.metric),
                *(entry for by_claim in tested.values() for entry in _of_scope(*by_claim[claim])),
            )
            for claim in CLAIMS
        ),
        notes=tuple(_scope_notes(measured, tested)),
    )


def _of_scope(p: float | None, adjusted: float | None) -> tuple[Entry, Entry, Entry]:
    return Entry(value=p, digits=4), _survives(p), _survives(adjusted)


def _scope_notes(measured: Measurements, tested: Mapping[str, Tested]) -> Iterator[str]:
    for name, by_claim in tested.items():
        scope, units = SCOPES[name], SCOPES[name].count(triples(measured.experiments))
        alone, holm = _surviving(by_claim)
        least = significance.smallest_p(units, "sign-test")
        yield (
            f"{name}: {scope.counted(units)}, about {scope.about}; no p is below {least:.3g}. "
            f"{alone} of {len(by_claim)} survive alone, {holm} with Holm."
        )
    yield "A network or data set that won some of its pairs counts by their balance: it is flipped as a whole."
    yield DIRECTIONS


def _claimed(claim: Claim, row: WinRow) -> tuple[Entry, ...]:
    percent = row.wins.percent
    return (
        Entry(value=claim.section),
        Entry(value=claim.words),
        Entry(value=claim.metric),
        Entry(value=percent),
        _yes(percent is not None and claim.agrees_with(percent)),
    )


def _survives(p: float | None) -> Entry:
    return _yes(p is not None and p <= LEVEL)


def _surviving(by_claim: Tested) -> tuple[int, int]:
    """How many survive alone, and with Holm's correction."""
    alone, holm = (sum(p is not None and p <= LEVEL for p in values) for values in zip(*by_claim.values(), strict=True))
    return alone, holm


def _yes(value: bool) -> Entry:
    return Entry(value="yes" if value else "no")


def _claim_notes(tested: Mapping[str, Tested], family: int) -> Iterator[str]:
    yield "on its side: more than half of the experiments are won, or where it claims a loss, lost."
    yield f"Holm: corrected for all {family} places of Table 5, asked in the same way."
    yield DIRECTIONS
    for test, by_claim in tested.items():
        alone, holm = _surviving(by_claim)
        yield f"{test}: {alone} of {len(by_claim)} survive alone, {holm} with Holm."


# Contradictions


def contradictions(percents: Percentages) -> Table:
    """Where the paper's numbers contradict its words, or each other."""
    rows = [*_of_the_footnote(), *_of_claims(percents), *_of_tables_3_and_6(), *_of_the_sequence(), *_of_table_4()]
    return Table(
        name="contradictions",
        title="Where the paper contradicts itself",
        columns=tuple(Column(name=name, numeric=False) for name in ("where", "says", "but")),
        rows=tuple(tuple(Entry(value=words) for words in row) for row in rows),
    )


def _of_the_footnote() -> Iterator[Words]:
    n = len(reference.table6().experiments)
    for level, printed in zip(LEVELS, PRINTED_THRESHOLDS, strict=True):
        own, sound = (significance.threshold(n, test, level) for test in ("hoeffding-as-published", "hoeffding"))
        but = f"its footnote's bound gives {own:.3f}, and Hoeffding's inequality {sound:.3f}"
        yield "section 4.4", f"significant at {100 * level:g} % from X = {printed} on", but


def _of_claims(percents: Percentages) -> Iterator[Words]:
    for claim in CLAIMS:
        percent = percents[claim.method, claim.metric]
        if percent is not None and not claim.agrees_with(percent):
            yield f"section {claim.section}", f"{claim.words} at {claim.metric}", f"wins {percent:.2f} % (Table 5)"
    for metric in METRICS:
        percent = percents["exp3", metric]
        if metric != "3/4" and percent is not None and percent > 50:
            yield "section D.5", "exp3 improves at 3/4 only", f"wins {percent:.2f} % at {metric} (Table 5)"


def _of_tables_3_and_6() -> Iterator[Words]:
    third, sixth = (reference.printed_errors(table) for table in ("table3_eann", "table6"))
    for place in sorted(third.keys() & sixth.keys()):
        if third[place] != sixth[place]:
            dataset, network, method, metric = place
            yield (
                f"Table 3, {method} {network} {dataset}",
                f"{third[place]:.2f} at {metric}",
                f"{sixth[place]:.2f} in Table 6",
            )


SEQUENCE = {1: 1, 3: 1, 7: 1, 13: 1, 25: 3}
"""The members of the paper's EANN by n, and their periods; all have 32 channels (section 4.6)."""


def _of_the_sequence(c: int = 32) -> Iterator[Words]:
    """Where the EANN answers with a member's final prediction, its error is that of the member in Table 6."""
    third, sixth = (reference.printed_errors(table) for table in ("table3_eann", "table6"))
    for dataset in dict.fromkeys(place[0] for place in third):
        for metric, n in _sequence_answers(c):
            network = f"({n},{c})" + (f"/{SEQUENCE[n]}" if SEQUENCE[n] > 1 else "")
            printed = third[dataset, f"(25,{c})/3", "eann", metric]
            own = sixth.get((dataset, network, "aann", "1"))
            if own is not None and own != printed:
                says = f"{printed:.2f} at {metric}"
                yield f"Table 3, eann {dataset}", says, f"it answers with {network}, which ends at {own:.2f} in Table 6"


def _sequence_answers(c: int) -> Iterator[tuple[str, int]]:
    """Each fraction of the whole cost at which a member's final prediction is the answer, and the member's n."""
    finals: dict[float | None, int] = {}
    members = []
    for n, period in SEQUENCE.items():
        units = NetworkConfig(n=n, c=c, period=period).predicting_units
        places = tuple(float(1000 * n + unit) for unit in units)
        finals[places[-1]] = n
        members.append(eann.Member(units=units, costs=tuple(prediction_costs(n, c, period)), errors=places))
    curve, whole = eann.sequence_curve(members), sum(member.costs[-1] for member in members)
    for fraction in MILESTONES:
        if member := finals.get(eann.error_at(curve, fraction * whole)):
            yield str(fraction), member


def _of_table_4(n: int = 7, c: int = 16, period: int = 5) -> Iterator[Words]:
    """Of this network all predictions but one are at a milestone, so that the average tells the error of that one."""
    errors = reference.printed_errors("table4")
    own = {metric: errors["cifar100", f"({n},{c})/{period}", "ann", metric] for metric in METRICS}
    costs = prediction_costs(n, c, period, num_classes=100)
    at = {milestone_index(costs, fraction): own[str(fraction)] for fraction in MILESTONES}
    (hidden,) = {*range(len(costs))} - at.keys()
    needed = len(costs) * own[AVERAGE] - sum(at.values())
    before = at[hidden - 1]
    yield (
        f"Table 4, n = {n}, s = {period}",
        f"{AVERAGE} {own[AVERAGE]:.2f}",
        f"prediction {hidden + 1} of {len(costs)} would err in {needed:.2f} %, the one before it in {before:.2f} %",
    )
