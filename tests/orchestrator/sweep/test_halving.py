"""Successive halving of a tuning's points: its closed forms, and that it decides the same in any order of arrival."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.result import EpochMetrics
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.report import layouts, status
from orchestrator.report.views import status as status_view
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.halving import Curve, Rung, halved, likely, rungs
from orchestrator.sweep.trial import Trial, TrialRecord
from orchestrator.sweep.tuning import notes

TUNED = """
name: tuned
networks: [{n: 1, c: 2}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann, tune: {grid: {gamma: [0.25, 0.5, 1, 2, 4]}, halving: true}}
seeds: [0, 1]
training: {steps: 88, batch_size: 64, learning_rate: {0: 0.1, 44: 0.01}}
"""
EPOCH = 22


# The pure part


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (1, []),
        (2, []),
        (3, [(50, 2)]),
        (4, [(50, 2)]),
        (5, [(25, 3), (50, 2)]),
        (8, [(25, 4), (50, 2)]),
        (9, [(13, 5), (25, 3), (50, 2)]),
    ],
)
def test_rungs_double_the_steps_and_halve_the_points_until_two_are_left(points, expected) -> None:
    assert rungs(points, 100) == tuple(Rung(step=step, keeps=keeps) for step, keeps in expected)


@pytest.mark.parametrize("power", range(1, 9))
def test_a_power_of_two_of_points_costs_as_many_trials_as_it_has_halvings_and_one(power) -> None:
    """At each of the rungs so many points as make one trial more, but two at the first: 8 points cost 4 of 8 trials."""
    steps, points = 1024, 2**power
    made = sum(likely(rank, rungs(points, steps), steps) for rank in range(points))
    assert made == (power + 1) * steps


Errors = list[list[float]]


@st.composite
def races(draw: Callable[..., object]) -> tuple[Errors, list[int]]:
    """Of each point its errors at the rungs, some equal and some infinite, and an order in which points train."""
    points = draw(st.integers(1, 12))
    one = st.sampled_from([1.0, 2.0, 3.0, math.inf])
    errors = draw(st.lists(st.lists(one, min_size=3, max_size=3), min_size=points, max_size=points))
    return errors, draw(st.lists(st.integers(0, points - 1), max_size=40))  # type: ignore[return-value]


def brute_force(errors: Errors, found: tuple[Rung, ...]) -> list[set[int]]:
    """The points that are left after each rung."""
    left, after = set(range(len(errors))), []
    for index, rung in enumerate(found):
        better = {
            it: sum((errors[other][index], other) < (errors[it][index], it) for other in left - {it}) for it in left
        }
        left = {it for it in left if better[it] < rung.keeps}
        after.append(left)
    return after


@given(races())
def test_in_whatever_order_points_arrive_the_same_are_stopped_and_none_that_goes_on(race) -> None:
    errors, order = race
    points, steps = len(errors), 800
    found = rungs(points, steps)
    trained = dict.fromkeys(range(points), 0)

    def error(place: int, step: int) -> float | None:
        return errors[place][[rung.step for rung in found].index(step)] if trained[place] >= step else None

    lost: dict[int, Rung] = {}
    for place in [*order, *(place for _ in range(len(found) + 1) for place in range(points))]:
        standing = halved(points, found, error)
        assert lost.items() <= standing.lost.items(), "a decision was taken back"
        lost = dict(standing.lost)
        if place in standing.left:
            trained[place] = max(trained[place], standing.rung.step if standing.rung else steps)
    final = halved(points, found, error)
    assert final.rung is None
    after = brute_force(errors, found)
    assert set(final.left) == (after[-1] if after else set(range(points)))
    for place, rung in final.lost.items():
        assert place not in after[found.index(rung)]
        assert trained[place] == rung.step, "one that lost was trained further"
    assert sum(trained.values()) == sum(likely(rank, found, steps) for rank in range(points))


def test_a_curve_is_read_at_the_epoch_that_reaches_a_rung() -> None:
    curve = Curve(errors={20: (9.0, 5.0), 40: (8.0, 4.0)})
    assert [curve.step(rung) for rung in (1, 20, 21, 40, 41)] == [20, 20, 40, 40, None]
    assert curve.error(21, min) == 4.0
    assert not curve.reached(41)
    diverged = replace(curve, diverged=True)
    assert diverged.reached(41)
    assert (diverged.error(21, min), diverged.error(41, min)) == (4.0, math.inf)


# In a sweep, by a real ledger


@pytest.fixture
def sweep(load_text) -> Sweep:
    return load_text(TUNED)


def points(sweep: Sweep) -> dict[float, Trial]:
    return {trial.config.regime.strategy.gamma: trial for trial in sweep.trials if trial.config.data.validated}


Train = Callable[[Trial, int, float], None]


@pytest.fixture
def train(ledger: Ledger, make_epochs: Callable[..., list[EpochMetrics]], make_record) -> Train:
    """Leaves in the ledger what a trial leaves that paused, or ended, with the same error at each epoch."""

    def trained(trial: Trial, epochs: int, error: float) -> None:
        attempt = ledger.begin(trial)
        units, errors = trial.config.predicting_units, (error,) * 3
        ledger.write_epochs(attempt, units, units, make_epochs(epochs, 3, test_error=errors))
        if epochs * EPOCH < trial.config.steps:
            ledger.pause(attempt, epochs * EPOCH)
        else:
            ledger.finish(attempt, make_record(trial, errors))

    return trained


def actions(sweep: Sweep, ledger: Ledger) -> dict[float, str]:
    own = points(sweep)
    entries = {entry.trial.id: entry for entry in planning.make(sweep.trials, ledger).entries}
    return {gamma: entries[trial.id].action for gamma, trial in own.items()}


def test_each_rung_waits_for_all_and_the_rest_of_the_points_are_stopped(sweep, ledger, train) -> None:
    """Gammas that are better the larger they are, but for the largest, which was lucky at first."""
    first = chosen(sweep, ledger)
    assert {trial.until for trial in points(first).values()} == {22}
    plan = planning.make(points(first).values(), ledger)
    assert {entry.reason for entry in plan.to_run} == {"never ran; pauses at step 22"}
    assert sum(entry.left for entry in plan.to_run) == 2 * 22 + 44 + 2 * 88  # as if they ranked as in the grid
    for gamma, trial in points(first).items():
        if gamma != 4:
            train(trial, 1, 50 - gamma)
    waiting = chosen(sweep, ledger)
    assert actions(waiting, ledger) == {0.25: "wait", 0.5: "wait", 1: "wait", 2: "wait", 4: "run"}
    train(points(first)[4], 1, 1.0)
    second = chosen(sweep, ledger)
    assert actions(second, ledger) == {0.25: "stop", 0.5: "stop", 1: "resume", 2: "resume", 4: "resume"}
    assert {trial.until for gamma, trial in points(second).items() if gamma >= 1} == {44}
    for gamma, error in {1: 10.0, 2: 9.0, 4: 11.0}.items():
        train(points(second)[gamma], 2, error)
    third = chosen(sweep, ledger)
    assert actions(third, ledger) == {0.25: "stop", 0.5: "stop", 1: "resume", 2: "resume", 4: "stop"}
    assert [trial.until for trial in points(third).values()] == [22, 22, 88, 88, 44]
    for gamma, error in {1: 4.0, 2: 3.0}.items():
        train(points(third)[gamma], 4, error)
    last = chosen(sweep, ledger)
    results = [trial for trial in last.in_tables if trial.cell.method == "aann"]
    assert [trial.config.regime.strategy.gamma for trial in results] == [2.0, 2.0]
    assert notes(last.tuning) == [
        "aann: gamma=2 on (1,2) digits, of 5 points, halved at steps 22 and 44 of 88, that with the lowest average "
        "error on 143 held-out images."
    ]
    assert planning.summary(planning.make(last.trials, ledger)) == "9 trials: 2 finished, 3 stopped early, 4 to run"
    assert "4 pending, 2 finished, 3 stopped" in status_view.status_text(status.status(last, ledger))


def test_a_table_has_the_steps_and_the_error_at_which_a_point_was_stopped(sweep, ledger, train) -> None:
    for trial in points(sweep).values():
        train(trial, 1, trial.config.regime.strategy.gamma)
    now = chosen(sweep, ledger)
    report = now.report.model_copy(update={"tables": ["tuning"]})
    (table,) = layouts.arrange(status.read_tables(replace(now, report=report), ledger))
    rows = {row[2].value: (row[4].value, row[5].value or row[5].mark) for row in table.rows}
    assert rows["gamma=4"] == (22, 4.0)
    assert rows["gamma=0.25"] == (88, "pending")
    assert [column.name for column in table.columns][-2:] == ["steps", "error"]


def test_a_trial_that_ran_to_its_end_without_halving_is_judged_by_where_it_was_at_the_rung(
    sweep, ledger, make_epochs, make_record
) -> None:
    """It was worst at the first rung, and would be best at the end."""
    late = points(sweep)[1]
    attempt = ledger.begin(late)
    curve = [replace(epoch, test_error=(90.0 / epoch.epoch**3,) * 3) for epoch in make_epochs(4, 3)]
    units = late.config.predicting_units
    ledger.write_epochs(attempt, units, units, curve)
    ledger.finish(attempt, make_record(late, curve[-1].test_error))
    for gamma, trial in points(sweep).items():
        if gamma != 1:
            attempt = ledger.begin(trial)
            ledger.write_epochs(attempt, units, units, make_epochs(1, 3))
            ledger.pause(attempt, EPOCH)
    now = chosen(sweep, ledger)
    (tuning,) = now.tuning
    assert {point.name for point in tuning.points if point.stopped} == {"gamma=1", "gamma=4"}
    assert actions(now, ledger)[1] == "keep"


def test_one_that_diverged_loses_at_the_next_rung_and_where_all_do_the_first_is_taken(
    sweep, make_record: Callable[[Trial, tuple[float, ...] | None], TrialRecord]
) -> None:
    own = points(sweep)
    fine = Curve(errors={22: (5.0,) * 3, 44: (5.0,) * 3})
    curves = {trial.id: fine for trial in own.values()} | {own[0.25].id: Curve(diverged=True)}
    records = {own[0.25].id: make_record(own[0.25], None)}
    (tuning,) = sweep.chosen(records, curves).tuning
    assert [point.name for point in tuning.points if not point.stopped] == ["gamma=0.5", "gamma=1"]
    assert tuning.points[0].error == math.inf
    everywhere = {trial.id: make_record(trial, None) for trial in own.values()}
    lost = sweep.chosen(everywhere, dict.fromkeys(everywhere, Curve(diverged=True)))
    assert "gamma=0.25 (all points diverged) on" in notes(lost.tuning)[0]


def test_the_trials_are_those_of_a_tuning_without_halving(sweep, load_text) -> None:
    plain = load_text(TUNED.replace(", halving: true", ""))
    assert {trial.id for trial in sweep.trials} == {trial.id for trial in plain.trials}
    assert sweep.candidates == plain.candidates


def test_a_trial_of_two_tunings_trains_as_far_as_either_needs(load_text) -> None:
    other = "  other: {strategy: aann, tune: {grid: {gamma: [0.25, 0.5, 1]}}}\nseeds"
    sweep = load_text(TUNED.replace("seeds", other))
    assert {gamma: trial.until for gamma, trial in points(sweep).items()} == {0.25: 88, 0.5: 88, 1: 88, 2: 22, 4: 22}


def test_another_sweep_may_go_on_with_a_trial_that_paused(sweep, ledger) -> None:
    trial = points(sweep)[1]
    with ledger.drive("tuned", "driver"):
        attempt = ledger.begin(trial, "tuned", driver="driver")
        assert ledger.elsewhere(trial.id, "other") == "tuned"
        ledger.pause(attempt, EPOCH)
        assert ledger.elsewhere(trial.id, "other") is None
        assert ledger.state(trial.id) == "paused"
        ledger.begin(trial, "other")
    assert ledger.state(trial.id) == "interrupted"


def test_a_trial_of_fewer_steps_than_the_others_counts_with_its_end(sweep) -> None:
    short = Curve(errors={10: (5.0, 4.0, 3.0)}, finished=True)
    assert (short.step(44), short.reached(44), short.error(44, min)) == (10, True, 3.0)
    assert not replace(short, finished=False).reached(44)


def test_where_the_finalists_diverge_the_best_that_got_furthest_before_is_taken(sweep, make_record) -> None:
    """Errors fall with gamma; the last two diverge after the last rung."""
    own = points(sweep)
    curves = {trial.id: Curve(errors=dict.fromkeys((22, 44), (9.0 - gamma,) * 3)) for gamma, trial in own.items()}
    diverged = {own[gamma].id: make_record(own[gamma], None) for gamma in (2, 4)}
    curves |= {name: replace(curves[name], diverged=True) for name in diverged}
    (tuning,) = sweep.chosen(diverged, curves).tuning
    assert [point.name for point in tuning.points if point.error == math.inf] == ["gamma=2", "gamma=4"]
    assert tuning.chosen
    assert tuning.chosen.name == "gamma=1"


def test_a_finished_trial_whose_metrics_are_lost_is_judged_by_its_checkpoint(sweep, ledger, train, monkeypatch) -> None:
    train(points(sweep)[1], 4, 30.0)
    trial_id = points(sweep)[1].id
    kept = ledger.epochs(trial_id)
    (ledger.folder(trial_id) / "metrics.parquet").unlink()
    monkeypatch.setattr(Ledger, "epochs_of_checkpoint", lambda self, name: kept if name == trial_id else [])
    for gamma, trial in points(sweep).items():
        if gamma != 1:
            train(trial, 1, 20.0)
    (tuning,) = chosen(sweep, ledger).tuning
    assert next(point for point in tuning.points if point.name == "gamma=1").stopped == EPOCH
