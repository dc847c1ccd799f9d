"""A plan says what would run, in which order and why; so does a status of what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytime_core.config import Joint, NetworkConfig, Opt
from orchestrator.ledger import checksummed
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.report import status as report
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialState

TEXT = """\
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, opt: {regime: opt, at: [1/2, 1]}}
training: {steps: 44, batch_size: 64}
"""

# Multiply-adds of (1, 2) on one image of 8x8 pixels and one channel.
STEM = 9 * 1 * 2 * 64
UNIT = 2 * 9 * 2 * 2 * 64  # the same in each block: twice the channels, a quarter of the pixels
TRANSITION = 9 * 2 * 4 * 16  # the same, too
DEPTHS = {1: STEM + UNIT, 2: STEM + TRANSITION + 2 * UNIT, 3: STEM + 2 * TRANSITION + 3 * UNIT}
HEADS = {1: 2 * 10, 2: 4 * 10, 3: 8 * 10}


@pytest.fixture
def sweep(load_text) -> Sweep:
    return load_text(TEXT)


def of_unit(sweep: Sweep, unit: int | None) -> Trial:
    (trial,) = [trial for trial in sweep.trials if trial.cell.unit == unit]
    return trial


def checkpoint(ledger: Ledger, trial: Trial, step: int) -> None:
    path = ledger.folder(trial.id) / "checkpoints" / f"step-{step:09d}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def began(ledger: Ledger, trial: Trial, moment: str) -> None:
    """Dates an attempt that is there."""
    path: Path = ledger.folder(trial.id) / "attempt.json"
    path.write_bytes(checksummed.pack(checksummed.unpack(path.read_bytes()) | {"began": moment}))


# Work and order


def test_work_is_three_passes_of_each_batch_to_the_last_prediction_for_the_steps_left(sweep, ledger) -> None:
    work = {entry.trial.cell.unit: entry.work for entry in planning.make(sweep.trials, ledger).entries}
    assert work == {
        None: 3 * 64 * 44 * (DEPTHS[3] + sum(HEADS.values())),
        2: 3 * 64 * 44 * (DEPTHS[2] + HEADS[2]),
        3: 3 * 64 * 44 * (DEPTHS[3] + HEADS[3]),
    }
    checkpoint(ledger, of_unit(sweep, 2), 33)
    (entry,) = planning.make([of_unit(sweep, 2)], ledger).entries
    assert (entry.step, entry.work) == (33, 3 * 64 * 11 * (DEPTHS[2] + HEADS[2]))
    assert planning.training_work(of_unit(sweep, 2), 1) == 3 * 64 * (DEPTHS[2] + HEADS[2])


def test_the_longest_comes_first_and_what_is_kept_last(make_trial, make_record, ledger) -> None:
    trials = {width: make_trial(Joint(), network=NetworkConfig(n=1, c=width)) for width in (2, 8, 4, 16, 6)}
    ledger.finish(ledger.begin(trials[16]), make_record(trials[16], (1.0, 1.0, 1.0)))
    ledger.begin(trials[8])
    checkpoint(ledger, trials[8], 43)  # of the second longest hardly a step is left
    plan = planning.make(trials.values(), ledger)
    assert [entry.trial.cell.c for entry in plan.entries] == [6, 4, 2, 8, 16]
    assert [entry.trial.cell.c for entry in plan.to_run] == [6, 4, 2, 8]
    works = [entry.work for entry in plan.to_run]
    assert works == sorted(works, reverse=True)
    assert plan.entries[-1].work == 0


def test_coverage_shows_each_cell_once_before_any_has_a_second_seed(load_text, ledger) -> None:
    text = TEXT.replace("[{n: 1, c: 2}]", "[{n: 1, c: 2}, {n: 2, c: 2}]") + "seeds: [7, 3, 5]\n"
    longest, covering = load_text(text), load_text(f"{text}order: coverage\n")
    assert covering.ids == longest.ids
    plan = planning.make(covering.trials, ledger)
    cells = [(entry.trial.cell.network, entry.trial.cell.method, entry.trial.cell.unit) for entry in plan.entries]
    seeds = [entry.trial.cell.seed for entry in plan.entries]
    whole = len(set(cells))
    assert seeds == [7] * whole + [3] * whole + [5] * whole
    assert set(cells[:whole]) == set(cells)
    works = [entry.work for entry in plan.entries[:whole]]
    assert works == sorted(works, reverse=True)
    by_seed = [entry.trial.cell.seed for entry in planning.make(longest.trials, ledger).entries]
    assert by_seed != seeds


def test_equal_trials_keep_the_order_of_the_sweep(make_trial, ledger) -> None:
    trials = [make_trial(seed=seed) for seed in (5, 3, 4, 1)]
    assert [entry.trial for entry in planning.make(trials, ledger).entries] == trials


# Reasons


def test_every_trial_has_an_action_and_a_reason(make_trial, make_record, ledger) -> None:
    new, finished, diverged, interrupted, failed, again = (make_trial(seed=seed) for seed in range(6))
    ledger.finish(ledger.begin(finished), make_record(finished, (1.0, 1.0, 1.0)))
    ledger.finish(ledger.begin(diverged), make_record(diverged, None))
    ledger.begin(interrupted)
    checkpoint(ledger, interrupted, 22)
    ledger.fail(ledger.begin(failed), "no memory", "")
    checkpoint(ledger, failed, 22)
    ledger.fail(ledger.begin(again), "no memory", "")
    ledger.begin(again)

    trials = [new, finished, diverged, interrupted, failed, again]
    plan = planning.make(trials, ledger)
    found = {entry.trial.cell.seed: (entry.action, entry.reason, entry.step) for entry in plan.entries}
    assert found == {
        0: ("run", "never ran", 0),
        1: ("keep", "finished", 44),
        2: ("keep", "diverged: its loss is no longer a number, and would be so again", 44),
        3: ("resume", "interrupted; goes on from step 22 of 44", 22),
        4: ("retry", "failed (bug) at step 22 of 44: no memory", 22),
        5: ("resume", "interrupted; goes on from step 0 of 44", 0),
    }
    assert planning.summary(plan) == "6 trials: 2 finished, 1 to run, 2 to resume, 1 to retry"
    assert plan.actions == {"keep": 2, "run": 1, "resume": 2, "retry": 1}


def test_a_finished_sweep_has_nothing_to_run(sweep, make_record, ledger) -> None:
    for trial in sweep.trials:
        errors = (1.0,) * len(trial.config.predicting_units)
        ledger.finish(ledger.begin(trial), make_record(trial, errors))
    plan = planning.make(sweep.trials, ledger)
    assert plan.to_run == ()
    assert planning.summary(plan) == "3 trials: 3 finished"


def test_planning_writes_nothing(sweep, tmp_path) -> None:
    ledger = Ledger(tmp_path / "not made")
    assert {entry.action for entry in planning.make(sweep.trials, ledger).entries} == {"run"}
    report.read_tables(sweep, ledger)
    assert not (tmp_path / "not made").exists()


# Status


def test_a_trial_runs_if_the_present_driver_began_it(sweep, ledger) -> None:
    before, now, never = (of_unit(sweep, unit) for unit in (None, 2, 3))
    for trial, moment in ((before, "2020-01-01T00:00:00+00:00"), (now, "2999-01-01T00:00:00+00:00")):
        ledger.begin(trial)
        began(ledger, trial, moment)

    def states() -> list[TrialState]:
        found = {status.trial.id: status.state for status in report.statuses(sweep, ledger)}
        return [found[trial.id] for trial in (before, now, never)]

    assert states() == [TrialState.INTERRUPTED, TrialState.INTERRUPTED, TrialState.PENDING]
    with ledger.drive("small"):
        assert states() == [TrialState.INTERRUPTED, TrialState.RUNNING, TrialState.PENDING]
    with ledger.drive("another"):
        assert states() == [TrialState.INTERRUPTED, TrialState.INTERRUPTED, TrialState.PENDING]


def test_a_status_says_how_far_and_why_not(make_record, sweep, ledger) -> None:
    joint, half, whole = (of_unit(sweep, unit) for unit in (None, 2, 3))
    ledger.finish(ledger.begin(joint), make_record(joint, (1.0, 1.0, 1.0)))
    ledger.begin(half)
    ledger.fail(ledger.begin(half), "no memory", "")
    checkpoint(ledger, half, 22)
    ledger.begin(whole)
    checkpoint(ledger, whole, 33)
    found = {status.trial.cell.unit: status for status in report.statuses(sweep, ledger)}
    told = {unit: (status.state, status.step, status.attempts, status.failure) for unit, status in found.items()}
    assert told == {
        None: ("finished", 44, 1, None),
        2: ("failed", 22, 2, "no memory"),
        3: ("interrupted", 33, 1, None),
    }


def test_the_tables_of_a_ledger_hold_what_finished(make_record, sweep, ledger) -> None:
    joint, half = of_unit(sweep, None), of_unit(sweep, 2)
    ledger.finish(ledger.begin(joint), make_record(joint, (30.0, 20.0, 10.0)))
    ledger.fail(ledger.begin(half), "no memory", "")
    found = report.read_tables(sweep, ledger)
    errors = {row.method: row.errors for row in found.errors}
    assert errors["ann"]["1"] == 10
    assert errors["ann"]["AE"] == 20
    assert set(errors["opt"].values()) == {None}
    assert found.states == {"finished": 1, "failed": 1, "pending": 1}


def test_an_optimum_is_planned_without_its_deeper_units(make_trial, ledger) -> None:
    entries = planning.make([make_trial(Opt(unit=unit)) for unit in (1, 2, 3)], ledger).entries
    works = {entry.trial.cell.unit: entry.work for entry in entries}
    assert works == {unit: 3 * 64 * 44 * (DEPTHS[unit] + HEADS[unit]) for unit in (1, 2, 3)}
