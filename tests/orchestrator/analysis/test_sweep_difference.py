"""Two sweeps are compared where they have the same places, pair by pair; what either has alone is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats as scipy_stats

from orchestrator.analysis.beside import Beside, beside, explained, explained_by_metric
from orchestrator.analysis.sweep_difference import A, B, Side, SweepDifference, compare, pair_up
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell

TEXT = """\
name: NAME
networks: [{n: 2, c: 8}, {n: 3, c: 8}, {n: 4, c: 8}, {n: 5, c: 8}, {n: 6, c: 8}, {n: 7, c: 8}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}OPT}
seeds: [SEEDS]
training: {steps: STEPS}
"""

Errors = Callable[[Cell], float | None]


@pytest.fixture
def make_side(load_text, make_record):
    """A sweep whose trials have one error at all of their predictions; None has diverged, NaN has not ended."""

    def made(
        errors: Errors, *, name="one", seeds="0, 1, 2", steps=44, opt="", storage="runs", edit=("", ""), **made_by: str
    ) -> Side:
        text = TEXT.replace("NAME", name).replace("SEEDS", seeds).replace("STEPS", str(steps)).replace("OPT", opt)
        sweep = load_text(text.replace(*edit))
        records = {}
        for trial in sweep.in_tables:
            if (error := errors(trial.cell)) == error:
                count = len(trial.config.predicting_units)
                record = make_record(trial, None if error is None else (error,) * count)
                records[trial.id] = replace(record, provenance=made_by)
        states = {trial.id: records[trial.id].state if trial.id in records else "pending" for trial in sweep.in_tables}
        return Side(sweep=sweep, storage=storage, records=records, states=states)

    return made


def level(cell: Cell) -> float:
    return 20.0 + cell.n + cell.seed


def verdict(found: SweepDifference, method: str, metric: str = "1"):
    return next(it for it in found.verdicts if (it.method, it.metric) == (f"{method} of B", metric))


def pairs(a: Side, b: Side) -> list:
    return beside(pair_up(a, b, compare(a, b).both))


def test_places_are_matched_and_the_rest_is_alone(make_side) -> None:
    a = make_side(level, seeds="0, 1", opt=", wide: {strategy: exp3}")
    b = make_side(level, seeds="1, 2", opt=", exp3: {strategy: exp3}")
    found = compare(a, b)
    shared = {f"{method} ({n},8) digits seed 1" for method, n in product(("ann", "aann"), range(2, 8))}
    assert {it.cell.label for it in found.both} == shared
    assert all(it.a == it.b and it.one for it in found.both)
    alone = {(it.side, it.cell.label): it.twin for it in found.alone}
    assert len(alone) == 2 * (36 - 12)
    assert alone[A, "ann (2,8) digits seed 0"] == ""
    assert alone[A, "wide (2,8) digits seed 1"] == "exp3 (2,8) digits seed 1"
    assert alone[B, "exp3 (2,8) digits seed 1"] == "wide (2,8) digits seed 1"
    assert found.verdicts == (), "one trial is no evidence of itself"


def test_configs_are_compared_in_each_cell_of_both(make_side) -> None:
    a, b = make_side(level), make_side(level, steps=88, edit=("strategy: aann", "strategy: {name: aann, gamma: 1}"))
    found = compare(a, b)
    assert {(it.what, it.a, it.b, it.cells) for it in found.configs} == {
        ("training.steps", 44, 88, 36),
        ("regime.strategy.gamma", 0.5, 1.0, 18),
    }
    assert compare(a, a).configs == ()


def test_reports_and_what_made_the_trials_are_compared(make_side) -> None:
    a = make_side(level, sources="aaa", torch="2.13")
    b = make_side(level, sources="bbb", torch="2.13", edit=("training:", "report: {rope: 0.5}\ntraining:"))
    found = compare(a, b)
    assert [(it.what, it.a, it.b) for it in found.reports] == [("report.rope", 0.1, 0.5)]
    assert [(it.part, it.what, it.a, it.b) for it in found.made] == [("code", "code", {"aaa": 36}, {"bbb": 36})]


def test_verdicts_are_those_of_the_pairs(make_side) -> None:
    """Beside a sign-flip test by brute force over the means of networks, and a t interval that is close to its own."""
    rng = np.random.default_rng(1)
    gaps = {(n, seed): round(float(rng.normal(-1.0, 0.5)), 2) for n, seed in product(range(2, 8), range(3))}
    a = make_side(level)
    b = make_side(
        lambda cell: level(cell) + (gaps[cell.n, cell.seed] if cell.method == "aann" else 0.0), storage="elsewhere"
    )
    found = compare(a, b)
    own = verdict(found, "aann")
    means = np.array([fmean(gaps[n, seed] for seed in range(3)) for n in range(2, 8)])
    flipped = [abs(np.mean(means * signs)) for signs in product((-1, 1), repeat=6)]
    assert own.baseline == "aann of A"
    assert own.effect is not None
    assert own.effect.mean == pytest.approx(means.mean())
    assert own.p == pytest.approx(np.mean([each >= abs(means.mean()) - 1e-9 for each in flipped]))
    assert (own.word, own.units, own.cells, own.seeds) == ("better", 6, 6, (3, 3))
    assert own.adjusted == pytest.approx(min(1.0, 5 * own.p)), "Holm over five metrics: the other method errs the same"
    assert found.alike == ("ann",)


def test_lost_and_diverged_trials_drop_or_lose_their_pairs(make_side) -> None:
    a = make_side(level)
    b = make_side(
        lambda cell: None if cell.seed == 0 else float("nan") if cell.seed == 1 else level(cell), storage="elsewhere"
    )
    own = verdict(compare(a, b), "ann")
    assert (own.dropped, own.diverged) == (6, (6, 0, 0))
    (first, *_) = pairs(a, b)
    assert (first.seeds, first.diverged, first.deviation) == (1, 1, None)


def test_errors_of_validation_and_test_images_are_not_compared(make_side) -> None:
    a, b = make_side(level), make_side(level, edit=("[digits]", "[{name: digits, validation: 200}]"))
    found = compare(a, b)
    assert (len(found.both), found.other_images, found.verdicts) == (36, 36, ())
    assert pairs(a, b) == []


def test_optima_are_compared_at_their_depths(make_side) -> None:
    opt = ", opt: {regime: opt, at: all}"
    found = compare(make_side(level, opt=opt), make_side(lambda cell: level(cell) + 1, opt=opt, storage="elsewhere"))
    assert verdict(found, "opt", "1/2").effect.mean == pytest.approx(1.0)


def test_bits_are_the_same_by_hash_and_errors(make_side) -> None:
    a = make_side(level, network_hash="f" * 16)
    for other, expected in (
        (make_side(level, storage="elsewhere", network_hash="f" * 16), True),
        (make_side(level, storage="elsewhere", network_hash="e" * 16), False),
        (make_side(level, storage="elsewhere"), None),
        (make_side(lambda cell: level(cell) + 1, storage="elsewhere"), False),
        (make_side(lambda cell: float("nan"), storage="elsewhere"), None),
    ):
        assert {it.same_bits for it in compare(a, other).both} == {expected}


def test_means_stand_beside_each_other_with_what_seeds_make(make_side) -> None:
    rng = np.random.default_rng(2)
    gaps = {(n, seed): float(rng.normal(0, 1)) for n, seed in product(range(2, 8), range(3))}
    a = make_side(lambda cell: level(cell) + gaps[cell.n, cell.seed])
    b = make_side(level, storage="elsewhere")
    found = {(it.network, it.method, it.metric): it for it in pairs(a, b)}
    assert len(found) == 6 * 2 * len(METRICS)
    own = [gaps[4, seed] for seed in range(3)]
    it = found["(4,8)", "ann", "1"]
    assert (it.seeds, it.ours, it.other) == (3, pytest.approx(25 + fmean(own)), pytest.approx(25.0))
    assert it.difference == pytest.approx(fmean(own))
    low, high = scipy_stats.t.interval(0.95, 2, loc=fmean(own), scale=stdev(own) / 3**0.5)
    assert it.noise == pytest.approx((high - low) / 2)
    assert it.within is bool(low <= 0 <= high)
    errors = [stdev([gaps[n, seed] for seed in range(3)]) ** 2 / 3 for n in range(2, 8)]
    squares = [fmean(gaps[n, seed] for seed in range(3)) ** 2 for n in range(2, 8)]
    shares = explained_by_metric(found.values())
    assert shares["AE"] == pytest.approx(min(1, sum(errors) / sum(squares)))
    assert explained([]) is None


def test_a_cell_whose_point_is_not_chosen_yet_has_no_config(make_side) -> None:
    tuned = ", tuned: {strategy: aann, tune: {grid: {gamma: [1, 2]}}}"
    a, b = (make_side(lambda cell: float("nan"), opt=tuned, storage=storage) for storage in ("runs", "elsewhere"))
    found = compare(a, b)
    assert {(it.cell.method, it.same_config, it.one) for it in found.both} == {
        ("ann", True, False),
        ("aann", True, False),
        ("tuned", None, False),
    }
    assert compare(a, replace(b, storage="runs")).configs == ()


def test_sweeps_without_a_cell_in_common_have_nothing_to_compare(make_side) -> None:
    a, b = make_side(level), make_side(level, seeds="7", edit=("[digits]", "[svhn]"))
    found = compare(a, b)
    assert (found.both, found.alike, found.verdicts, len(found.alone)) == ((), (), (), 36 + 12)
    assert pairs(a, b) == []


def test_shared_trainings_are_left_out_of_the_means_beside_each_other(make_side) -> None:
    """As ``diff`` leaves them out: the two that are apart make the difference, and what seeds do to it."""
    mine = {"host": "h", "last_attempt_began": "1", "ended": "2"}
    a, b = make_side(level, **mine), make_side(lambda cell: level(cell) + cell.seed, storage="elsewhere")
    zero = {trial.id for trial in a.sweep.in_tables if trial.cell.seed == 0}
    b = replace(b, records={name: a.records[name] if name in zero else it for name, it in b.records.items()})
    found = pairs(a, b)
    assert {(it.seeds, it.shared, it.difference) for it in found} == {(2, 1, -1.5)}
    assert {round(it.deviation, 9) for it in found} == {round(stdev([1, 2]), 9)}
    assert {(it.seeds, it.shared, it.difference) for it in pairs(a, a)} == {(0, 3, 0.0)}


def test_one_trial_has_no_noise(make_side) -> None:
    a = make_side(level)
    found = pairs(a, a)
    assert {(it.difference, it.deviation, it.within) for it in found} == {(0.0, None, None)}
    assert explained(found) is None


def test_seeds_explain_all_where_nothing_else_differs_and_little_where_much_does() -> None:
    """The share is that of the squares: over many cells 1 of no difference, and 1 / (1 + d^2) of d standard errors."""
    rng = np.random.default_rng(3)

    def share(shift: float) -> float | None:
        cells = []
        for _ in range(4000):
            gaps = rng.normal(shift, 1.0, 4)
            place = {"dataset": "d", "network": "n", "method": "m", "metric": "1"}
            cells.append(Beside(**place, seeds=4, ours=0, other=0, difference=gaps.mean(), deviation=gaps.std(ddof=1)))
        return explained(cells)

    assert share(0.0) == pytest.approx(1, abs=0.05)
    assert share(1.0) == pytest.approx(1 / (1 + 4), abs=0.02)
