"""The tables hold what a patient reader would work out from the records by hand."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.cost import trial_costs
from anytime_core.result import TrialResult
from orchestrator.analysis import tables
from orchestrator.analysis.tables import Tables
from orchestrator.stats import significance
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState

QUARTERS = {"1/4": 1, "1/2": 2, "3/4": 3, "1": 4}
NETWORKS = {"(1,8)": (1, 1), "(2,8)": (2, 1), "(2,8)/2": (2, 2), "(2,8)/5": (2, 5)}
STRATEGIES = ["ann", "aann", "exp3"]
SEEDS = [0, 1, 5]

TEXT = """\
name: small
networks: [{n: 1, c: 8}, {n: 2, c: 8}, {n: 2, c: 8, period: 2}, {n: 2, c: 8, period: 5}]
datasets: [digits, cifar10]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}, opt: {regime: opt}}
seeds: [0, 1, 5]
training: {batch_size: 64}
"""


@pytest.fixture(scope="module")
def sweep(load_text) -> Sweep:
    return load_text(TEXT)


def built(sweep: Sweep, records: Mapping[str, TrialRecord]) -> Tables:
    states = {
        trial.id: records[trial.id].state if trial.id in records else TrialState.PENDING for trial in sweep.trials
    }
    return tables.build(sweep, records, states)


def record_of(trial: Trial, make_record, rng: random.Random) -> TrialRecord | None:
    """One in five is missing, one in five diverged; costs are any that grow, errors few enough for ties."""
    fate = rng.random()
    if fate < 0.2:
        return None
    count = len(trial.config.predicting_units)
    if fate < 0.4:
        return make_record(trial, None)
    record = make_record(trial, tuple(rng.choice([10.0, 20.0, 30.0, 40.0]) for _ in range(count)))
    costs = tuple(sorted(rng.sample(range(1, 1000), count)))
    return replace(record, result=replace(record.result, costs=costs))


# By hand


def by_hand(result: TrialResult) -> dict[str, float | None]:
    """The errors of a trial of all predictions, by metric."""
    errors: dict[str, float | None] = dict.fromkeys(QUARTERS)
    for name, quarters in QUARTERS.items():
        for cost, error in zip(result.costs, result.errors, strict=True):
            if 4 * cost <= quarters * result.costs[-1]:
                errors[name] = error  # a later one that is still cheap enough takes its place
    return errors | {"AE": sum(result.errors) / len(result.errors)}


def by_holm(p_values: list[float]) -> list[float]:
    """The largest of (m - j + 1) p over those that are no greater, at most 1."""
    ordered = sorted(p_values)
    scaled = [(len(ordered) - place) * p for place, p in enumerate(ordered)]
    return [min(1.0, max(scaled[: ordered.index(p) + 1])) for p in p_values]


Measured = dict[tuple[str, str, str, int], dict[str, float | None]]


def measured_by_hand(sweep: Sweep, records: Mapping[str, TrialRecord]) -> Measured:
    """By data set, network, method and seed."""
    measured: Measured = {}
    for dataset, network, method, seed in product(["digits", "cifar10"], NETWORKS, [*STRATEGIES, "opt"], SEEDS):
        n, period = NETWORKS[network]
        found: dict[str, float | None] = {}
        optima: list[float] = []
        for cell, identity in sweep.cells.items():
            if (cell.dataset, cell.n, cell.period, cell.method, cell.seed) != (dataset, n, period, method, seed):
                continue
            record = records.get(identity)
            if record is not None and record.result.state == "diverged" and method != "opt":
                found |= by_hand(
                    replace(record.result, state="finished", errors=(math.inf,) * len(record.result.units))
                )
            if record is None or record.result.state != "finished":
                continue
            if method == "opt":
                (error,) = record.result.errors
                optima.append(error)
                nearest = {name: (6 * n * quarters + 4) // 8 for name, quarters in QUARTERS.items()}  # floor(3nf + 1/2)
                found |= {name: error for name, unit in nearest.items() if unit == cell.unit}
            else:
                found |= by_hand(record.result)
        if len(optima) == 3 * n:
            found["AE"] = sum(optima) / len(optima)
        measured[dataset, network, method, seed] = found
    return measured


@settings(max_examples=15)
@given(rng=st.randoms(use_true_random=False))
def test_all_numbers_are_those_worked_out_by_hand(sweep, make_record, rng) -> None:
    drawn = {trial.id: record_of(trial, make_record, rng) for trial in sweep.trials}
    records = {identity: record for identity, record in drawn.items() if record}
    found, measured = built(sweep, records), measured_by_hand(sweep, records)

    rows = {(row.dataset, row.network, row.method): row for row in found.errors}
    assert rows.keys() == {key[:3] for key in measured}
    assert len(rows) == len(found.errors) == 2 * 4 * 4
    for key, row in rows.items():
        for metric in (*QUARTERS, "AE"):
            errors = [measured[*key, seed].get(metric) for seed in SEEDS]
            present = [error for error in errors if error is not None and error < math.inf]
            assert row.counts[metric] == len(present)
            assert row.errors[metric] == (pytest.approx(sum(present) / len(present)) if present else None)
            assert row.spreads[metric] == (pytest.approx(np.std(present, ddof=1)) if len(present) > 1 else None)
        cells = {cell: sweep.cells[cell] for cell in sweep.cells if (cell.dataset, cell.network, cell.method) == key}
        assert row.seeds == max(row.counts.values())
        lost = {
            cell: "diverged" if identity in records else "pending"
            for cell, identity in cells.items()
            if identity not in records or records[identity].result.state != "finished"
        }
        n = NETWORKS[key[1]][0]
        for metric, quarters in QUARTERS.items():
            nearest = (6 * n * quarters + 4) // 8
            lacking = Counter(state for cell, state in lost.items() if cell.unit in (None, nearest))
            assert row.missing.get(metric, {}) == lacking
        averages = {"AE"} & row.missing.keys()
        assert averages == ({"AE"} if any(cell.unit is None or n == 1 for cell in lost) else set())

    assert [(row.method, row.metric) for row in found.wins] == list(product(["aann", "exp3"], [*QUARTERS, "AE"]))
    experiments = list(product(["digits", "cifar10"], NETWORKS, SEEDS))
    for row in found.wins:
        wins = ties = n = 0
        by_cell: dict[tuple[str, str], list[float]] = {}
        for dataset, network, seed in experiments:
            own = measured[dataset, network, row.method, seed].get(row.metric)
            other = measured[dataset, network, "ann", seed].get(row.metric)
            if own is not None and other is not None:
                wins, ties, n = wins + (own < other), ties + (own == other), n + 1
                by_cell.setdefault((dataset, network), []).append((own < other) + (own == other) / 2)
        assert (row.wins.wins, row.wins.ties, row.wins.n) == (wins, ties, n)
        assert row.wins.dropped == len(experiments) - n
        assert row.baseline == "ann"
        if n == 0:
            assert {row.wins.percent, row.interval, *row.p_values.values(), *row.adjusted.values()} == {None}
            continue
        # Eight cells are enough to be the units; each is worth the share of its seeds that are won.
        shares = [sum(scores) / len(scores) for scores in by_cell.values()]
        assert row.units == len(shares)
        excess = max(sum(shares) / len(shares) - 0.5, 0)
        assert row.p_values["hoeffding"] == pytest.approx(math.exp(-2 * len(shares) * excess**2))
        sums = [
            sum(sign * (share - 0.5) for sign, share in zip(signs, shares, strict=True))
            for signs in product([1, -1], repeat=len(shares))
        ]
        flipped = sum(each >= len(shares) * (sum(shares) / len(shares) - 0.5) - 1e-9 for each in sums) / len(sums)
        assert row.p_values["sign-test"] == pytest.approx(flipped)
        assert row.interval.low <= 100 * sum(shares) / len(shares) <= row.interval.high
    for test in significance.TESTS:
        tested = [row for row in found.wins if row.wins.n]
        assert by_holm([row.p_values[test] for row in tested]) == pytest.approx([row.adjusted[test] for row in tested])

    assert [(row.method, row.metric) for row in found.increases] == list(product(STRATEGIES, [*QUARTERS, "AE"]))
    for row in found.increases:
        ratios = [
            own / best - 1
            for place in experiments
            if (own := measured[place[0], place[1], row.method, place[2]].get(row.metric)) not in (None, math.inf)
            and (best := measured[place[0], place[1], "opt", place[2]].get(row.metric)) is not None
        ]
        assert (row.optimum, row.increase.n) == ("opt", len(ratios))
        assert row.increase.percent == (pytest.approx(100 * sum(ratios) / len(ratios)) if ratios else None)

    assert found.states == Counter(
        "pending" if identity not in records else str(records[identity].result.state) for identity in drawn
    )


# One at a time


def test_an_optimum_stands_for_each_fraction_that_rounds_to_its_depth(sweep, make_record) -> None:
    """Of n = 1: depth 1 for 1/4, depth 2 for 1/2 and 3/4, depth 3 for all."""
    errors = {1: 30.0, 2: 20.0, 3: 10.0}
    optima = [
        t for t in sweep.trials if t.cell.unit and t.cell.n == 1 and t.cell.dataset == "digits" and not t.cell.seed
    ]
    found = built(sweep, {trial.id: make_record(trial, (errors[trial.cell.unit],)) for trial in optima})
    (row,) = [row for row in found.errors if row.seeds]
    assert (row.dataset, row.network, row.method, row.seeds) == ("digits", "(1,8)", "opt", 1)
    assert row.errors == {"1/4": 30, "1/2": 20, "3/4": 20, "1": 10, "AE": 20}  # as every depth has an optimum


def test_optima_have_no_average_if_a_depth_has_none(sweep, make_record) -> None:
    optima = [t for t in sweep.trials if t.cell.unit in (1, 2) and t.cell.n == 1]
    found = built(sweep, {trial.id: make_record(trial, (30.0,)) for trial in optima})
    rows = [row for row in found.errors if row.seeds]
    assert rows
    assert all(row.errors["AE"] is None for row in rows)


def test_an_optimum_shared_by_two_networks_is_in_the_rows_of_both(sweep, make_record) -> None:
    deepest = [t for t in sweep.trials if t.cell.unit == 6 and t.cell.dataset == "digits"]
    assert len(deepest) == len(SEEDS)
    found = built(sweep, {trial.id: make_record(trial, (7.0,)) for trial in deepest})
    rows = [row for row in found.errors if row.seeds]
    assert [row.network for row in rows] == ["(2,8)", "(2,8)/2", "(2,8)/5"]
    assert {row.errors["1"] for row in rows} == {7.0}


def test_what_no_prediction_is_cheap_enough_for_is_missing(sweep, make_record) -> None:
    """With a period of 5, n = 2 predicts at units 1 and 6: the second is at all of the cost."""
    (trial, *_) = [trial for trial in sweep.trials if trial.cell.period == 5]
    record = make_record(trial, (50.0, 10.0))
    first, last = trial_costs(trial.config)
    assert first < last / 4
    expensive = replace(record, result=replace(record.result, costs=(last - 1, last)))
    for ended, expected in ((record, 50.0), (expensive, None)):
        (row,) = [row for row in built(sweep, {trial.id: ended}).errors if row.seeds]
        assert row.errors == {"1/4": expected, "1/2": expected, "3/4": expected, "1": 10.0, "AE": 30.0}


def test_a_diverged_trial_is_in_no_row(sweep, make_record) -> None:
    found = built(sweep, {trial.id: make_record(trial, None) for trial in sweep.trials})
    assert {row.seeds for row in found.errors} == {0}
    assert {error for row in found.errors for error in row.errors.values()} == {None}
    assert {(row.wins.ties, row.wins.n) for row in found.wins if row.metric in ("1", "AE")} == {(24, 24)}
    assert {row.p_values["sign-test"] for row in found.wins if row.wins.n} == {1}
    assert {word for row in found.errors for words in row.missing.values() for word in words} == {"diverged"}
    assert found.states == {"diverged": len(sweep.trials)}
    dropping = replace(sweep, report=sweep.report.model_copy(update={"diverged": "drop"}))
    found = built(dropping, {trial.id: make_record(trial, None) for trial in sweep.trials})
    assert {(row.wins.n, row.wins.dropped, row.wins.percent, row.interval) for row in found.wins} == {
        (0, 24, None, None)
    }
    assert {p for row in found.wins for p in (*row.p_values.values(), *row.adjusted.values())} == {None}


def test_a_diverged_trial_loses_its_pair(sweep, make_record) -> None:
    """Where one method diverged on every network and the baseline did not."""
    records = {
        trial.id: make_record(
            trial, None if trial.cell.method == "aann" else (9.0,) * len(trial.config.predicting_units)
        )
        for trial in sweep.trials
        if trial.cell.method in ("ann", "aann")
    }
    rows = [row for row in built(sweep, records).wins if row.method == "aann" and row.metric == "1"]
    assert [(row.wins.losses, row.wins.n, row.p_values["hoeffding"]) for row in rows] == [(24, 24, 1)]


def test_an_optimum_that_failed_takes_no_other_from_the_means(sweep, make_record) -> None:
    """Of n = 1 depth 3 is missing for one seed, and with it that seed's average."""
    optima = [t for t in sweep.trials if t.cell.unit and t.cell.n == 1 and t.cell.dataset == "digits"]
    lost = next(trial for trial in optima if (trial.cell.unit, trial.cell.seed) == (3, 5))
    records = {trial.id: make_record(trial, (10.0 + trial.cell.seed,)) for trial in optima if trial is not lost}
    (row,) = [row for row in built(sweep, records).errors if row.seeds]
    assert row.counts == {"1/4": 3, "1/2": 3, "3/4": 3, "1": 2, "AE": 2}
    assert row.errors == {"1/4": 12, "1/2": 12, "3/4": 12, "1": 10.5, "AE": 10.5}
    assert row.missing == {"1": {"pending": 1}, "AE": {"pending": 1}}
    assert tables.lacking(row.missing) == "1, AE: 1 pending"


def test_before_anything_ran_every_row_is_there_and_empty(sweep) -> None:
    found = built(sweep, {})
    assert len(found.errors) == 32
    assert {row.wins.dropped for row in found.wins} == {24}
    assert found.states == {"pending": len(sweep.trials)}


def test_rows_are_in_the_order_of_the_sweep(sweep) -> None:
    rows = [(row.dataset, row.network, row.method) for row in built(sweep, {}).errors]
    assert rows == list(product(["digits", "cifar10"], NETWORKS, [*STRATEGIES, "opt"]))


def test_the_baseline_is_that_of_the_sweep(load_text, make_record) -> None:
    sweep = load_text(TEXT + "report: {baseline: exp3}\n")
    records = {
        trial.id: make_record(
            trial, (5.0 if trial.cell.method == "aann" else 6.0,) * len(trial.config.predicting_units)
        )
        for trial in sweep.trials
    }
    found = built(sweep, records)
    assert {(row.method, row.baseline) for row in found.wins} == {("ann", "exp3"), ("aann", "exp3")}
    percents = {(row.method, row.metric): row.wins.percent for row in found.wins}
    assert percents == {(m, metric): {"ann": 50, "aann": 100}[m] for m, metric in product(["ann", "aann"], METRICS)}


def test_optima_are_compared_with_nothing(sweep) -> None:
    assert {row.method for row in built(sweep, {}).wins} == {"aann", "exp3"}
