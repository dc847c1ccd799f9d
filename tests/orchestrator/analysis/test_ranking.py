"""Rankings count a cell once, let a diverged trial lose, and say what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from orchestrator.analysis import ranking
from orchestrator.analysis.measurements import Experiment, collect
from orchestrator.analysis.ranking import Field
from orchestrator.paper import reference
from orchestrator.sweep.metrics import METRICS

METHODS = ("ann", "aann", "exp3")


def field_of(errors: Mapping[tuple[str, str, int], float | str | None]) -> Field:
    """Errors by method, network and seed, the same in all metrics; a word is why one is missing."""
    places = {key: (Experiment("digits", key[1], key[2]), key[0]) for key in errors}
    numbers = {k: math.inf if v == "diverged" else v for k, v in errors.items()}
    values = {places[k]: dict.fromkeys(METRICS, v) for k, v in numbers.items() if isinstance(v, float)}
    missing = {places[k]: dict.fromkeys(METRICS, v) for k, v in errors.items() if isinstance(v, str)}
    return ranking.field(collect(values, places.values(), ("opt",), missing))


@pytest.fixture
def small() -> Field:
    """Two networks, two seeds: exp3 diverged in one trial, aann has not run in another."""
    return field_of(
        {("opt", "a", 0): 1.0, ("opt", "b", 0): 4.0}
        | {("ann", "a", 0): 2.0, ("ann", "a", 1): 4.0, ("ann", "b", 0): 8.0, ("ann", "b", 1): 8.0}
        | {("aann", "a", 0): 1.0, ("aann", "a", 1): 3.0, ("aann", "b", 0): 9.0, ("aann", "b", 1): "pending"}
        | {("exp3", "a", 0): 2.0, ("exp3", "a", 1): 4.0, ("exp3", "b", 0): 1.0, ("exp3", "b", 1): "diverged"}
    )


def test_optima_take_no_part_and_come_last(small) -> None:
    assert small.methods == (*METHODS, "opt")
    assert small.compared == METHODS
    assert small.at("AE").shape == (2, 3, 2)


def test_a_cell_counts_once_and_a_diverged_seed_loses_it(small) -> None:
    pairs = {(row.method, row.other): row.pairing for row in ranking.pair_rows(small) if row.metric == "1/2"}
    first = pairs["ann", "aann"]
    assert (first.wins, first.ties, first.losses) == (1, 0, 1)
    assert first.difference == pytest.approx((1 - 1) / 2)  # in b of the common seed alone
    diverged = pairs["ann", "exp3"]
    assert (diverged.wins, diverged.ties, diverged.losses) == (1, 1, 0)
    assert (diverged.difference, diverged.diverged) == (0, 1)


def test_a_method_that_diverged_where_none_has_an_error_is_not_compared() -> None:
    """A network may have no prediction so early: that it diverged says nothing there."""
    field = field_of({(method, "a", 0): "diverged" for method in METHODS})
    assert field.at("1/4").shape == (0, 3, 1)
    assert all(row.pairing.n == 0 for row in ranking.pair_rows(field))
    assert {row.strength for row in ranking.strength_rows(field, "ann") if row.method != "ann"} == {None}


def test_gaps_name_method_and_cell(small) -> None:
    assert ranking.gaps(small) == ["aann b digits"]
    with pytest.raises(ValueError, match="must be complete"):
        ranking.mean_ranks(small, "AE")


def test_a_seed_that_no_method_has_is_no_gap() -> None:
    complete = {(method, network, 0): float(place) for place, method in enumerate(METHODS) for network in "ab"}
    field = field_of(complete | {(method, network, 1): "pending" for method in METHODS for network in "ab"})
    assert ranking.gaps(field) == []
    assert ranking.mean_ranks(field, "AE").ranks.tolist() == [1, 2, 3]


def test_increases_are_of_the_same_seed(small) -> None:
    over_opt = ranking.increases(small, "ann", "opt", "AE")
    assert over_opt[:, 0].tolist() == [100, 100]
    assert np.isnan(over_opt[:, 1]).all()  # the optimum has no second seed
    assert ranking.increases(small, "exp3", "ann", "AE")[1, 1] == math.inf
    assert ranking.common([over_opt, ranking.increases(small, "aann", "opt", "AE")]).tolist() == [True, True]


@pytest.mark.parametrize("count", [2, ranking.MOST_METHODS + 1])
def test_too_few_or_too_many_methods_are_not_ranked(count: int) -> None:
    field = field_of({(f"m{place}", "a", 0): float(place) for place in range(count)})
    assert ranking.pair_rows(field) == ranking.strength_rows(field, "m0") == ()


def test_the_papers_table_is_ranked_with_its_gaps() -> None:
    """Each pair of methods has the wins of Table 5 that its percentage was made of; RWM has 34 of 39 cells."""
    field = ranking.field(reference.table6())
    pairs = {(row.method, row.other, row.metric): row.pairing for row in ranking.pair_rows(field)}
    aann = pairs["ann", "aann", "3/4"]
    assert 100 * (aann.losses + aann.ties / 2) / aann.n == pytest.approx(76.92, abs=0.005)
    strengths = {(row.method, row.metric): row for row in ranking.strength_rows(field, "ann")}
    assert strengths["rwm", "AE"].cells == 34
    assert strengths["aann", "3/4"].percent_low > 50
    assert strengths["milestone", "1"].percent_high < 50
    assert (strengths["ann", "AE"].percent_low, strengths["ann", "AE"].percent_high) == (50, 50)
    assert len(ranking.gaps(field)) == 10


def test_a_pair_stays_as_it_is_when_a_method_goes() -> None:
    whole = reference.table6()
    kept = [place for place, name in enumerate(whole.methods) if name != "milestone"]
    less = collect(
        {
            (experiment, whole.methods[place]): dict(zip(METRICS, whole.errors[row, place], strict=True))
            for row, experiment in enumerate(whole.experiments)
            for place in kept
        },
        [(experiment, whole.methods[place]) for experiment in whole.experiments for place in kept],
        ("opt",),
        {},
    )
    before, after = (
        {(row.method, row.other, row.metric): row.pairing for row in ranking.pair_rows(ranking.field(measured))}
        for measured in (whole, less)
    )
    assert len(after) == 10 * 5
    assert after.items() <= before.items()
