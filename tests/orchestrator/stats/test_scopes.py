"""What a scope counts as a unit, and what it averages within one."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from orchestrator.paper import reference
from orchestrator.stats.scopes import FEWEST, SCOPES, Grouping, widest
from orchestrator.stats.significance import p_value, smallest_p

PAIRS = list(product(["svhn", "digits"], ["(1,8)", "(2,8)", "(3,8)"], [0, 1]))


def test_each_scope_counts_its_own_units() -> None:
    assert {name: scope.count(PAIRS) for name, scope in SCOPES.items()} == {
        "seeds": 12,
        "cells": 6,
        "networks": 3,
        "data_sets": 2,
    }
    assert {name: Grouping.of(name, PAIRS).count() for name in SCOPES} == {
        name: scope.count(PAIRS) for name, scope in SCOPES.items()
    }


def test_seeds_are_averaged_within_cells_and_cells_within_units() -> None:
    """One seed of (1,8) on svhn is missing: that cell counts as much as the others all the same."""
    values = np.array([float(10 * (pair[0] == "digits") + int(pair[1][1]) + pair[2]) for pair in PAIRS])
    kept = np.array([pair != ("svhn", "(1,8)", 1) for pair in PAIRS])
    means = {name: Grouping.of(name, PAIRS).restricted(kept).means(values[kept]).tolist() for name in SCOPES}
    assert means["seeds"] == values[kept].tolist()
    assert means["cells"] == [1, 2.5, 3.5, 11.5, 12.5, 13.5]
    assert means["networks"] == [6.25, 7.5, 8.5]
    assert means["data_sets"] == [pytest.approx(7 / 3), 12.5]


@pytest.mark.parametrize(
    ("networks", "datasets", "seeds", "scope"),
    [(13, 3, 1, "networks"), (2, 6, 1, "data_sets"), (2, 3, 1, "cells"), (2, 1, 3, "seeds"), (2, 1, 2, "seeds")],
)
def test_the_widest_scope_has_enough_units_to_decide(networks, datasets, seeds, scope) -> None:
    pairs = list(product(map(str, range(datasets)), map(str, range(networks)), range(seeds)))
    assert widest(pairs) == scope


def test_fewest_is_the_first_number_of_units_that_can_decide_two_sided() -> None:
    assert [2 * smallest_p(units, "sign-flip") <= 0.05 for units in (FEWEST - 1, FEWEST)] == [False, True]


@pytest.mark.parametrize(
    ("metric", "by_networks", "by_data_sets"),
    [("1/4", 0.0027, 0.125), ("1/2", 0.0752, 0.125), ("3/4", 0.0054, 0.125), ("AE", 0.0566, 0.25)],
)
def test_what_aann_shows_of_new_networks_and_of_new_data_sets(metric, by_networks, by_data_sets) -> None:
    """The 39 pairs of Table 6 are of 13 networks and 3 data sets."""
    measured = reference.table6()
    pairs = [(each.dataset, each.network, each.seed) for each in measured.experiments]
    errors = measured.of("aann", metric), measured.of("ann", metric)
    found = [p_value(*errors, "sign-test", Grouping.of(scope, pairs)) for scope in ("networks", "data_sets")]
    assert found == [pytest.approx(by_networks, abs=5e-5), pytest.approx(by_data_sets)]
    singly = p_value(*errors, "sign-test")
    assert {p_value(*errors, "sign-test", Grouping.of(scope, pairs)) for scope in ("seeds", "cells")} == {singly}


def test_a_lost_pair_leaves_the_units_of_the_others() -> None:
    own = [1.0, math.nan, 1.0, 3.0]
    pairs = [("a", "x", 0), ("a", "y", 0), ("b", "x", 0), ("b", "y", 0)]
    grouping = Grouping.of("networks", pairs)
    assert p_value(own, [2.0] * 4, "hoeffding", grouping) == 1  # x is won, y is lost
    assert p_value(own, [2.0] * 4, "sign-test", grouping) == 0.75
