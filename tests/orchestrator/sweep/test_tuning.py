"""What a sweep's tuning chooses, against a brute force on results that are made up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from statistics import fmean

import pytest

from orchestrator.ledger import choices, last_run
from orchestrator.planning import plan as planning
from orchestrator.report import layouts, status
from orchestrator.report.views import status as status_view
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord
from orchestrator.sweep.tuning import notes

TUNED = """
name: tuned
networks: [{n: 1, c: 2}, {n: 1, c: 4}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann, tune: {grid: {gamma: [0.25, 0.5, 1, 2]}, seeds: [0, 1]%s}}
seeds: [0, 1, 2]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1, 22: 0.01}}
"""
GAMMAS = (0.25, 0.5, 1.0, 2.0)
Made = dict[str, tuple[float, ...] | None]


@pytest.fixture
def tuned(load_text) -> Sweep:
    return load_text(TUNED % "")


@pytest.fixture
def records(make_record) -> Callable[[Sweep, Made], dict[str, TrialRecord]]:
    """Of these trials: their errors; None is diverged."""

    def of(sweep: Sweep, made: Made) -> dict[str, TrialRecord]:
        trials = {trial.id: trial for trial in sweep.trials}
        return {trial_id: make_record(trials[trial_id], errors) for trial_id, errors in made.items()}

    return of


def first_stage(sweep: Sweep) -> list[Trial]:
    return [trial for trial in sweep.trials if trial.config.data.validated]


def gamma(trial: Trial) -> float:
    return trial.config.regime.strategy.gamma


def drawn(sweep: Sweep, rng: random.Random) -> Made:
    """Errors of a few values, so that there are ties; some diverge."""
    errors = lambda: tuple(float(rng.choice([10, 20, 30])) for _ in range(3))  # noqa: E731
    return {trial.id: None if rng.random() < 0.1 else errors() for trial in first_stage(sweep)}


def brute_force(sweep: Sweep, made: Made, channels: tuple[int, ...], of: Callable[[tuple[float, ...]], float]) -> float:
    """The first of the gammas with the least mean over these networks and all seeds."""
    best, least = None, math.inf
    for value in GAMMAS:
        own = [made[it.id] for it in first_stage(sweep) if gamma(it) == value and it.cell.c in channels]
        mean = math.inf if None in own else fmean(of(errors) for errors in own)
        if best is None or mean < least:
            best, least = value, mean
    assert best
    return best


def chosen(sweep: Sweep) -> dict[int, set[float]]:
    """The gammas of the method's row, by the network's channels."""
    trials = {trial.id: trial for trial in sweep.trials}
    found: dict[int, set[float]] = {}
    for cell, trial_id in sweep.cells.items():
        if cell.method == "aann":
            found.setdefault(cell.c, set()).add(gamma(trials[trial_id]))
    return found


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("choose", "of"), [("average_error", fmean), ("error", lambda errors: errors[-1])])
@pytest.mark.parametrize("per", ["cell", "method"])
def test_the_point_with_the_lowest_mean_is_taken_and_the_first_of_several(
    load_text, records, seed, choose, of, per
) -> None:
    sweep = load_text(TUNED % f", choose: {choose}, per: {per}")
    made = drawn(sweep, random.Random(seed))
    groups = {2: (2,), 4: (4,)} if per == "cell" else {2: (2, 4), 4: (2, 4)}
    expected = {c: {brute_force(sweep, made, channels, of)} for c, channels in groups.items()}
    assert chosen(sweep.chosen(records(sweep, made))) == expected


def test_nothing_is_chosen_before_the_last_trial_of_its_tuning_has_ended(tuned, records) -> None:
    made = drawn(tuned, random.Random(0))
    (last,) = [it for it in first_stage(tuned) if (gamma(it), it.cell.c, it.cell.seed) == (2.0, 4, 1)]
    made.pop(last.id)
    partly = tuned.chosen(records(tuned, made))
    waiting = [trial for trial in partly.trials if trial.awaits]
    assert {(it.cell.method, it.cell.c, it.cell.seed) for it in waiting} == {("aann", 4, seed) for seed in range(3)}
    assert {it.awaits for it in waiting} == {"not chosen yet: 1 of 8 trials that tune it have not ended"}
    assert {it.id for it in waiting}.isdisjoint(tuned.candidates)
    whole = partly.chosen(records(tuned, made | {last.id: (1.0, 1.0, 1.0)}))
    assert not any(trial.awaits for trial in whole.trials)
    assert len(whole.trials) == len(tuned.trials) == 2 * 3 + 2 * 4 * 2 + 2 * 3


def test_a_point_that_diverged_loses_to_any_other_and_of_diverged_points_the_first_is_taken(tuned, records) -> None:
    made: Made = {trial.id: (90.0, 90.0, 90.0) if gamma(trial) == 2 else None for trial in first_stage(tuned)}
    assert chosen(tuned.chosen(records(tuned, made))) == {2: {2.0}, 4: {2.0}}
    none = tuned.chosen(records(tuned, dict.fromkeys(made)))
    assert chosen(none) == {2: {0.25}, 4: {0.25}}
    assert "gamma=0.25 (all points diverged)" in notes(none.tuning)[0]


def test_another_choice_is_another_trial_and_a_choice_made_again_is_the_same(tuned, records) -> None:
    rng = random.Random(3)
    before, after = (tuned.chosen(records(tuned, drawn(tuned, rng))) for _ in range(2))
    again = before.chosen(records(tuned, drawn(tuned, rng))).chosen(records(tuned, drawn(tuned, random.Random(3))))
    assert (again.trials, again.cells) == (before.trials, before.cells)
    assert chosen(before) != chosen(after)
    assert {*before.ids}.intersection(after.ids) >= {trial.id for trial in first_stage(tuned)}


def test_the_trials_are_those_of_a_sweep_by_hand(load_text, tuned, records) -> None:
    tune = "tune: {grid: {gamma: [0.25, 0.5, 1, 2]}, seeds: [0, 1]%s}"
    by_hand = TUNED.replace("[digits]", "[{name: digits, validation: 143}]").replace(
        "seeds: [0, 1, 2]", "seeds: [0, 1]"
    )
    ids = {trial.id for trial in load_text(by_hand.replace(tune, "grid: {gamma: [0.25, 0.5, 1, 2]}")).trials}
    assert {trial.id for trial in first_stage(tuned)} < ids
    made: Made = {it.id: (1.0, 1.0, 1.0) if gamma(it) == 2 else (2.0, 2.0, 2.0) for it in first_stage(tuned)}
    results = load_text(TUNED.replace("strategy: aann, " + tune, "strategy: {name: aann, gamma: 2}"))
    assert tuned.chosen(records(tuned, made)).cells == results.cells


# What is made of it


@pytest.fixture
def ended(tuned, ledger, make_record) -> Sweep:
    """The sweep once its first stage has ended, by the ledger, and nothing else."""
    for trial in first_stage(tuned):
        attempt = ledger.begin(trial)
        error = 10 * abs(gamma(trial) - 0.5) + trial.config.seed
        ledger.finish(attempt, make_record(trial, (error, error, error)))
    return tuned.chosen(ledger.records(trial.id for trial in tuned.trials))


def test_trials_of_the_tuning_count_in_no_table(ended, ledger) -> None:
    tables = status.read_tables(ended, ledger)
    assert tables.states.total() == len(ended.cells) == 12
    assert {row.method for row in tables.errors} == {"ann", "aann"}
    assert not ended.validated
    assert (
        "aann: gamma=0.5 on (1,2) digits, (1,4) digits, of 4 points that with the lowest average error on 143 "
        "held-out images."
    ) in tables.notes


def test_a_plan_counts_what_is_not_chosen_yet_and_estimates_it_but_does_not_run_it(tuned, ended, ledger) -> None:
    plan = planning.make(tuned.trials, ledger)
    assert planning.summary(plan) == "28 trials: 16 finished, 6 to run, 6 not chosen yet"
    waiting = [entry for entry in plan.to_come if not entry.runs]
    assert {entry.trial.cell.method for entry in waiting} == {"aann"}
    assert all(entry.work > 0 for entry in waiting)
    assert all(entry.trial.cell.method == "ann" for entry in plan.to_run)
    now = planning.make(ended.trials, ledger)
    assert planning.summary(now) == "28 trials: 16 finished, 12 to run"


def test_a_table_of_the_points_marks_the_ones_that_were_taken(ended, ledger) -> None:
    report = ended.report.model_copy(update={"tables": ["tuning"]})
    (table,) = layouts.arrange(status.read_tables(replace(ended, report=report), ledger))
    rows = [tuple(entry.value for entry in row) for row in table.rows]
    errors = {"gamma=0.25": 3.0, "gamma=0.5": 0.5, "gamma=1": 5.5, "gamma=2": 15.5}
    assert rows == [
        ("aann", place, point, "average error", error)
        for place in ("(1,2) digits", "(1,4) digits")
        for point, error in errors.items()
    ]
    assert {row[2].value for row in table.rows if row[-1].best} == {"gamma=0.5"}


def test_a_status_says_what_was_chosen(tuned, ended, ledger) -> None:
    assert "\naann: gamma=0.5 on (1,2)" in status_view.status_text(status.status(ended, ledger))
    text = status_view.status_text(status.status(tuned, ledger))
    assert "aann: not chosen yet on (1,2) digits, (1,4) digits: 16 of 16 trials that tune it have not ended." in text


def test_what_a_sweep_leaves_of_itself_is_tuned_as_its_file_is(tuned, ended, ledger) -> None:
    """Before and after anything is chosen: the places wait, or have the trials of the point that was taken."""
    for now in (tuned, ended):
        last_run.remember(now, ledger)
        recalled = last_run.recalled("tuned", tuned.path, ledger)
        assert recalled
        assert recalled.cells == tuned.cells
        assert list(recalled.cells) == list(tuned.cells)
        assert (recalled.ids, recalled.candidates) == (tuned.ids, tuned.candidates)
        again = choices.chosen(recalled, ledger)
        assert again.cells == ended.cells
        assert [trial.id for trial in again.trials] == [trial.id for trial in ended.trials]
        assert notes(again.tuning) == notes(ended.tuning)


@pytest.mark.parametrize("spoilt", ["steps", "choose", "name", "points", "results", "keeps"])
def test_what_was_left_of_a_tuning_that_can_choose_nothing_is_no_sweep(ended, ledger, spoilt) -> None:
    """Whoever shares the storage can write there."""
    content = last_run.content(ended)
    (first, *_), one = content["tuning"], content["tuning"][0]["points"][0]
    match spoilt:
        case "steps" | "choose":
            first[spoilt] = None
        case "points":
            first["points"] = []
        case "keeps":
            first["rungs"] = [{"step": 22, "keeps": 0}]
        case "name":
            one["name"] = "gamma"
        case "results":
            del one["results"][0]
    ledger.write_sweep("tuned", content)
    assert last_run.recalled("tuned", ended.path, ledger) is None


def test_sets_of_points_are_ordered_by_the_grid(load_text) -> None:
    text = TUNED.replace("{gamma: [0.25, 0.5, 1, 2]}", "{warm_up_epochs: [0, 1], gamma: [2, 1]}")
    names = [point.name for point in load_text(text % "").tuning[0].points]
    assert names == [f"warm_up_epochs={epochs} gamma={value}" for epochs, value in product([0, 1], [2, 1])]
