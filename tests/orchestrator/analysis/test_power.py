"""How much differences vary is estimated as it was simulated, and open questions get a number of seeds and cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as students

from orchestrator.analysis import power, ranking
from orchestrator.analysis.ranking import Field
from orchestrator.paper import reference
from orchestrator.stats.power import PAPER, Spread
from orchestrator.stats.resampling import generator
from orchestrator.sweep.metrics import METRICS

NAN, INF = np.nan, np.inf


def field_of(differences: np.ndarray) -> Field:
    """Two methods of which the second's errors differ so much, [cell, seed], in all metrics."""
    base = 50 + generator(0, "base", *differences.shape).normal(size=differences.shape)
    errors = np.stack([base, base + differences], axis=1)[..., None].repeat(len(METRICS), axis=3)
    names = tuple(("digits", str(cell)) for cell in range(len(differences)))
    seeds = tuple(range(differences.shape[1]))
    return Field(names=names, methods=("ann", "aann"), optima=(), seeds=seeds, errors=errors)


def row_of(differences: np.ndarray) -> power.PowerRow:
    return next(row for row in power.power_rows(field_of(differences), "ann") if row.metric == "AE")


def test_both_spreads_are_those_that_were_simulated() -> None:
    rng = generator(0, "spreads")
    tables = [1.0 + 0.7 * rng.normal(size=(400, 1)) + 1.5 * rng.normal(size=(400, 3)) for _ in range(3)]
    found = power.spread(tables)
    assert found.seeds == pytest.approx(1.5, rel=0.05)
    assert found.cells == pytest.approx(0.7, rel=0.1)


def test_cells_that_differ_no_more_than_their_seeds_do_not_vary() -> None:
    assert power.spread([np.array([[1.0, 3.0], [2.0, 2.0]])]).cells == 0


def test_what_is_missing_or_diverged_is_left_out() -> None:
    found = power.spread([np.array([[1.0, 3.0, NAN], [INF, 5.0, 7.0], [NAN, NAN, NAN]])])
    assert found == Spread(seeds=math.sqrt(2), cells=None)


def test_of_one_seed_the_spread_of_cells_holds_both() -> None:
    assert power.spread([np.array([[1.0], [3.0]])]) == Spread(seeds=None, cells=math.sqrt(2))


@pytest.mark.parametrize("metric", METRICS)
def test_the_papers_spread_is_that_of_its_table_6(metric: str) -> None:
    field = ranking.field(reference.table6())
    tables = [power.differences(field, method, "ann", metric) for method in field.compared if method != "ann"]
    assert power.spread(tables).cells == pytest.approx(PAPER[metric], abs=0.0005)


def test_an_interval_of_new_cells_is_that_of_a_t_test() -> None:
    row = row_of(np.array([[1.0], [2.0], [4.0], [6.0]]))
    low, high = students.interval(0.95, 3, loc=3.25, scale=np.std([1, 2, 4, 6], ddof=1) / 2)
    assert (row.new_cells.low, row.new_cells.high) == (pytest.approx(low), pytest.approx(high))
    assert row.new_cells.decision == "undecided"
    assert row.new_cells.more > 0
    assert row.new_seeds == power.Answer()


def test_an_interval_of_new_seeds_is_of_the_spread_within_cells() -> None:
    row = row_of(np.array([[1.0, 3.0], [11.0, 13.0]]))
    low, high = students.interval(0.95, 2, loc=7, scale=math.sqrt(2 / 4))
    assert (row.new_seeds.low, row.new_seeds.high) == (pytest.approx(low), pytest.approx(high))
    assert row.new_seeds.decision == "worse"
    assert row.new_seeds.more is None
    assert row.new_cells.decision == "undecided"


def test_more_seeds_would_decide_what_was_seen() -> None:
    """In simulated sweeps of that difference and that spread four of five are decided with as many seeds."""
    rng = generator(1, "more")
    row = row_of(-0.6 + 1.5 * rng.normal(size=(6, 2)))
    assert row.new_seeds.decision == "undecided"
    seen = power.spread([power.differences(field_of(-0.6 + np.zeros((6, 2))), "aann", "ann", "AE")])
    assert seen.seeds == pytest.approx(0, abs=1e-9)
    spread = (row.new_seeds.high - row.new_seeds.low) / 2 / students.ppf(0.975, 6) * math.sqrt(12)
    seeds = 2 + row.new_seeds.more
    tables = row.difference + spread * rng.normal(size=(300, 6, seeds))
    decided = [row_of(table).new_seeds.decision == "better" for table in tables]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.07)


def test_no_difference_takes_more_than_anybody_runs() -> None:
    row = row_of(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert row.new_seeds.decision == "undecided"
    assert row.new_seeds.more is None


def test_a_diverged_cell_is_counted_and_has_no_difference() -> None:
    row = row_of(np.array([[1.0, 3.0], [INF, 2.0], [NAN, NAN]]))
    assert (row.cells, row.seeds, row.diverged, row.difference) == (1, 2, 1, 2)


def test_nothing_is_known_of_nothing() -> None:
    row = row_of(np.full((2, 2), NAN))
    assert (row.cells, row.seeds, row.difference) == (0, 0, None)
    assert row.new_seeds == row.new_cells == power.Answer()
    assert row.new_seeds.decision is None
