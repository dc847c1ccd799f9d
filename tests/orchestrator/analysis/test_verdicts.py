"""Verdicts follow the differences: which word, of how many units, and with which p-value."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from orchestrator.analysis import tables
from orchestrator.analysis.tables import Tables
from orchestrator.analysis.verdicts import Verdict, judged, verdicts
from orchestrator.stats.effects import effect
from orchestrator.stats.scopes import Grouping
from orchestrator.sweep.trial import TrialState

TEXT = """\
name: small
networks: [{n: 2, c: 8}, {n: 3, c: 8}, {n: 4, c: 8}, {n: 5, c: 8}, {n: 6, c: 8}, {n: 7, c: 8}]
datasets: [digits, svhn]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
seeds: [0, 1]
"""


@pytest.fixture
def built(load_text, make_record):
    """Tables of a sweep whose methods' errors exceed ann's by so many points, a list of which is taken in turns."""

    def build(ahead: dict[str, list[float]], lost: dict[str, int] | None = None, **wishes: object) -> Tables:
        sweep = load_text(TEXT)
        sweep = replace(sweep, report=sweep.report.model_copy(update=wishes))
        records, turns = {}, dict.fromkeys(("ann", *ahead), 0)
        for trial in sweep.trials:
            method = trial.cell.method
            steps = ahead.get(method, [0.0])
            error = 20.0 + trial.cell.n + trial.cell.seed + steps[turns[method] % len(steps)]
            turns[method] += 1
            diverged = turns[method] <= (lost or {}).get(method, 0)
            count = len(trial.config.predicting_units)
            records[trial.id] = make_record(trial, None if diverged else (error,) * count)
        return tables.build(sweep, records, {name: record.state for name, record in records.items()})

    return build


def at_half(found: tuple[Verdict, ...], method: str) -> Verdict:
    return next(each for each in found if (each.method, each.metric) == (method, "1/2"))


def test_clear_differences_have_their_words(built) -> None:
    found = verdicts(built({"aann": [-1.0, -1.5], "exp3": [0.02, -0.03]}))
    assert {each.word for each in found if each.method == "aann"} == {"better"}
    assert {each.word for each in found if each.method == "exp3"} == {"equal"}
    assert {(each.scope, each.units, each.cells, each.seeds) for each in found} == {("networks", 6, 12, (2, 2))}
    found = verdicts(built({"aann": [1.0, 1.5], "exp3": [-3.0, 3.0, 2.0, -2.5]}))
    assert (at_half(found, "aann").word, at_half(found, "exp3").word) == ("worse", "undecided")


def test_p_is_two_sided_and_corrected_over_all_verdicts(built) -> None:
    """Six networks, all of them better: two of 64 patterns of signs are as clear."""
    found = verdicts(built({"aann": [-1.0], "exp3": [-2.0, 2.0]}))
    verdict = at_half(found, "aann")
    assert verdict.p == pytest.approx(2 / 64)
    assert len(found) == 10
    assert verdict.adjusted == pytest.approx(10 * 2 / 64)
    assert not verdict.holds_with_others
    cells = at_half(verdicts(built({"aann": [-1.0], "exp3": [-2.0, 2.0]}, scope="cells")), "aann")
    assert (cells.units, cells.p, cells.holds_with_others) == (12, pytest.approx(2 / 4096), True)


def test_too_few_units_decide_nothing_however_clear(built) -> None:
    verdict = at_half(verdicts(built({"aann": [-5.0], "exp3": [0.0]}, scope="data_sets")), "aann")
    assert (verdict.word, verdict.units, verdict.p, verdict.effect.mean_interval) == ("undecided", 2, 0.5, None)


def test_a_region_of_equivalence_is_asked_for_in_points(built) -> None:
    words = {
        rope: at_half(verdicts(built({"aann": [-0.3, -0.2], "exp3": [0.0]}, rope=rope)), "aann").word
        for rope in (0.0, 0.1, 0.5)
    }
    assert words == {0.0: "better", 0.1: "better", 0.5: "equal"}
    assert at_half(verdicts(built({"aann": [-0.3], "exp3": [0.0]})), "exp3").word == "equal"


def test_divergences_weigh_against_a_method_unless_they_are_dropped(built) -> None:
    """Half of its trials diverged, and where it finished it was better."""
    ahead = {"aann": [-1.0, -1.5], "exp3": [0.0]}
    verdict = at_half(verdicts(built(ahead, {"aann": 12})), "aann")
    assert (verdict.word, verdict.diverged, verdict.dropped) == ("undecided", (12, 0, 0), 0)
    assert verdict.effect.mean < 0
    dropping = at_half(verdicts(built(ahead, {"aann": 12}, diverged="drop", scope="cells")), "aann")
    assert (dropping.word, dropping.diverged, dropping.dropped) == ("better", (0, 0, 0), 12)


def test_what_diverged_everywhere_has_no_effect_and_is_not_equal(built) -> None:
    verdict = at_half(verdicts(built({"aann": [0.0], "exp3": [0.0]}, {"aann": 24})), "aann")
    assert (verdict.effect, verdict.word, verdict.posterior) == (None, "undecided", None)
    assert verdict.p == pytest.approx(2 / 64)


def test_nothing_is_said_before_there_is_a_pair(load_text) -> None:
    sweep = load_text(TEXT)
    states = {trial.id: TrialState.PENDING for trial in sweep.trials}
    assert verdicts(tables.build(sweep, {}, states)) == ()


def test_of_ratios_the_relative_interval_decides() -> None:
    """Ten times as large errors on one data set outvote the others in points, and not in ratios."""
    pairs = [(dataset, str(network), 0) for dataset, network in product(["a", "b"], range(8))]
    other = np.array([50.0] * 8 + [2.0] * 8)
    own = other + np.array([4.0, -4, 4, -4, 3, -3, 3, -3, *[-0.2, -0.3] * 4])
    found = effect(own, other, Grouping.of("cells", pairs))
    words = {scale: judged(found, (0.01, 0.99), scale, 0.0, alike=True) for scale in ("points", "ratios")}
    assert words == {"points": "undecided", "ratios": "better"}
    assert judged(found, (0.99, 0.01), "ratios", 0.0, alike=False) == "undecided"  # divergences say the contrary
    assert found.relative == pytest.approx(100 * math.expm1(np.log(own / other).mean()))
