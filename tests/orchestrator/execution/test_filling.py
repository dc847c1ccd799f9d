"""What one command does about outcomes that are missing: what it begins, tries again and tells. Rounds run in this
process in place of Ray's; tests/cluster/test_outcomes.py has the real ones."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from anytime_core.errors import DataError
from orchestrator.errors import UsageError
from orchestrator.execution import filling, scheduler
from orchestrator.execution.filling import Kept, fill, troubles
from orchestrator.execution.sweep_run import RunSettings
from orchestrator.execution.worker import DriverLink, WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning.plan import Plan
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.keep import Keep
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweep.trial import AUTO, Resources, Trial

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1]
training: {steps: 22, batch_size: 128, learning_rate: {0: 0.1}}
retries: {lost: 2}
report: {baseline: ann}
"""


@pytest.fixture
def sweep(load_text) -> Sweep:
    return load_text(SWEEP)


@pytest.fixture
def ended(sweep, ledger, tmp_path) -> list[Trial]:
    """All but the last have ended, and left no outcomes."""
    where = WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")
    for trial in sweep.trials[:-1]:
        run_trial(replace(trial, keep=Keep(outcomes=False)), where, lambda epochs: None)
    return list(sweep.trials[:-1])


@pytest.fixture
def settings(ledger, tmp_path) -> RunSettings:
    return RunSettings(storage=ledger.storage, data_root=tmp_path / "data")


class Rounds:
    """Stand in for Ray's. ``before`` is asked about each trial, and says whether the round is done with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[Plan] = []
        self.shares: list[dict[str, int]] = []
        self.before: Callable[[Trial, Any], bool] = lambda trial, listener: False
        monkeypatch.setattr(filling.Session, "place", self._placed)
        monkeypatch.setattr(scheduler, "run_round", self._run_round)
        monkeypatch.setattr(filling.Shutdown, "wait", lambda *_: False)  # takes no pauses

    def _placed(self, plan: Plan, lost: Any) -> Plan:
        self.plans.append(plan)
        return plan

    def _run_round(
        self, trials: Any, where: Any, listener: Any, folder: Any, *, work: Any, shares: Any, **_: Any
    ) -> None:
        self.shares.append(shares)
        for trial in trials:
            if not self.before(trial, listener) and not listener.holds.cover(trial.id, trial.cell.method):
                listener.ended(trial.id, work(trial, where, print, DriverLink()))


@pytest.fixture
def rounds(monkeypatch) -> Rounds:
    return Rounds(monkeypatch)


def states(sweep: Sweep, settings: RunSettings, said: io.StringIO | None = None) -> list[Kept]:
    return [it.state for it in fill(sweep, settings, Console(file=said or io.StringIO(), width=200))]


def test_what_is_missing_is_written_once_and_then_nothing_starts(sweep, ended, settings, rounds, ledger) -> None:
    said = io.StringIO()
    assert states(sweep, settings, said) == [Kept.WRITTEN] * 3 + [Kept.PENDING]
    assert said.getvalue().splitlines() == [
        f"small: outcomes of 3 trials are missing; storage: {ledger.storage}",
        "[3/3 written, 0 failed]",
    ]
    assert all(ledger.outcomes(trial.id) for trial in ended)
    again = io.StringIO()
    assert states(sweep, settings, again) == [Kept.THERE] * 3 + [Kept.PENDING]
    assert len(rounds.plans) == 1
    assert again.getvalue() == ""


def test_nothing_starts_for_a_sweep_of_which_nothing_has_ended(sweep, settings, rounds) -> None:
    assert states(sweep, settings) == [Kept.PENDING] * 4
    assert rounds.plans == []


def test_what_is_damaged_is_made_again_alone(sweep, ended, settings, rounds, ledger) -> None:
    states(sweep, settings)
    path = ledger.folder(ended[1].id) / "outcomes.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert states(sweep, settings) == [Kept.THERE, Kept.WRITTEN, Kept.THERE, Kept.PENDING]
    assert path.read_bytes() == whole


def test_trials_without_a_network_fail_alone_and_are_told_by_their_cause(
    sweep, ended, settings, rounds, ledger: Ledger
) -> None:
    for trial in ended[:2]:
        for path in (ledger.folder(trial.id) / "checkpoints").iterdir():
            path.unlink()
    found = fill(sweep, settings, Console(file=io.StringIO()))
    assert [it.state for it in found] == [Kept.FAILED, Kept.FAILED, Kept.WRITTEN, Kept.PENDING]
    first, cause = troubles(found)
    assert first == "2 of 4 trials lack outcomes; the same command tries them again"
    assert cause.startswith(f"  2 trials, such as {ended[0].cell.label} ({ended[0].id}): ")
    assert len(rounds.shares) == 1, "no other try would go better"


@pytest.mark.parametrize(
    ("device", "threads", "of_sweep", "options", "expected"),
    [
        ("cpu", 1, Resources(gpus=AUTO), {}, Resources(cpus=1)),
        ("cpu", 3, Resources(cpus=1), {}, Resources(cpus=3)),
        ("cpu", None, Resources(cpus=2), {}, Resources(cpus=2)),
        ("cpu", 3, Resources(), {"cpus": 2, "gpus": 0.5}, Resources(cpus=2, gpus=0.5)),
        ("NVIDIA L4", 1, Resources(gpus=0.25), {}, Resources(gpus=0.25)),
        ("NVIDIA L4", 1, Resources(), {}, Resources(gpus=AUTO)),
        ("NVIDIA L4", 1, Resources(gpus=1), {"gpus": 0.0}, Resources()),
    ],
)
def test_a_trial_is_placed_as_it_was_trained_unless_the_user_says_otherwise(
    device, threads, of_sweep, options, expected, load_text, ledger, settings, rounds, make_record
) -> None:
    (trial,) = load_text(SWEEP.replace("[0, 1]", "[0]").replace(", aann: {strategy: aann}", "")).trials
    record = make_record(trial, tuple(range(3)))
    provenance = {} if threads is None else {"threads": threads}
    record = replace(record, result=replace(record.result, device=device), provenance=provenance)
    ledger.finish(ledger.begin(trial), record)
    rounds.before = lambda trial, listener: True
    of_one = replace(load_text(SWEEP), trials=[replace(trial, resources=of_sweep)])
    fill(of_one, replace(settings, address="head:6379", **options), Console(file=io.StringIO()))
    ((entry,),) = (plan.to_run for plan in rounds.plans)
    assert entry.trial.resources == expected


def test_data_that_are_missing_are_told_before_anything_starts(sweep, ended, settings, rounds, monkeypatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise DataError("digits: no such files")

    monkeypatch.setattr("orchestrator.execution.checks.images_of", missing)
    with pytest.raises(UsageError, match="digits: no such files"):
        states(sweep, settings)
    assert rounds.plans == []


def test_storage_that_fails_once_is_tried_again(sweep, ended, settings, rounds, monkeypatch) -> None:
    write, failures = Ledger.fill_outcomes, iter([OSError(5, "Input/output error", "outcomes.parquet")])

    def writing(self: Ledger, trial_id: str, *given: Any) -> None:
        if error := next(failures, None):
            raise error
        write(self, trial_id, *given)

    monkeypatch.setattr(Ledger, "fill_outcomes", writing)
    said = io.StringIO()
    assert states(sweep, settings, said) == [Kept.WRITTEN] * 3 + [Kept.PENDING]
    assert "storage failed; 1 trial tried again in " in said.getvalue()
    assert [len(shares) for shares in rounds.shares] == [3, 1]


def test_a_process_that_ran_out_of_memory_is_tried_again_with_more_room(sweep, ended, settings, rounds) -> None:
    def full(trial: Trial, listener: Any) -> bool:
        if trial == ended[0] and len(rounds.shares) == 1:
            listener.lost(trial.id, "its node ran low on memory", FailureKind.MEMORY)
            assert listener.holds.trials == {trial.id}
        return False

    rounds.before = full
    assert states(sweep, settings) == [Kept.WRITTEN] * 3 + [Kept.PENDING]
    assert rounds.shares[1] == {ended[0].id: 2}


def test_a_process_that_dies_again_and_again_is_given_up_after_so_many_times(sweep, ended, settings, rounds) -> None:
    held: list[bool] = []

    def dies(trial: Trial, listener: Any) -> bool:
        if trial != ended[0]:
            return False
        for _ in range(4):
            listener.lost(trial.id, "its process died", FailureKind.LOST)
            held.append(bool(listener.holds.trials))
        return True

    rounds.before, said = dies, io.StringIO()
    found = fill(sweep, settings, Console(file=said, width=200))
    assert held == [False, False, True, True]
    assert [it.state for it in found] == [Kept.FAILED, Kept.WRITTEN, Kept.WRITTEN, Kept.PENDING]
    assert said.getvalue().count(f"{ended[0].cell.label}: its process died; begun again\n") == 2
    assert troubles(found)[1] == f"  {ended[0].cell.label} ({ended[0].id}): its process died, 3 times"


def test_ctrl_c_leaves_what_is_written_and_the_same_command_goes_on(sweep, ended, settings, rounds, ledger) -> None:
    def interrupted(trial: Trial, listener: Any) -> bool:
        if trial == ended[1]:
            os.kill(os.getpid(), signal.SIGINT)
            assert listener.overdue
        return False

    rounds.before, said = interrupted, io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        states(sweep, settings, said)
    assert "stopping; what is written stays (ctrl-C again stops at once)\n" in said.getvalue()
    assert [bool(ledger.outcomes(trial.id)) for trial in ended] == [True, False, False]
    rounds.before = lambda trial, listener: False
    assert states(sweep, settings) == [Kept.THERE, Kept.WRITTEN, Kept.WRITTEN, Kept.PENDING]
