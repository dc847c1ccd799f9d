"""Outcomes are written as a trial ends, unless nobody wants them, and later for those that lack them, to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anytime_core.config import TrainingConfig
from orchestrator.execution.outcomes import Filled, Kept, fill
from orchestrator.execution.reproduce import ReproduceSettings
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.sweep.keep import Keep
from orchestrator.sweep.trial import Trial, TrialState

NAME = "outcomes.parquet"


@pytest.fixture
def where(ledger, tmp_path) -> WorkerContext:
    return WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")


@pytest.fixture
def trial(make_trial) -> Trial:
    return make_trial(training=TrainingConfig(steps=22, batch_size=64, learning_rate={0: 0.1}))


def filled(trials, ledger, tmp_path) -> list[Kept]:
    told: list[Filled] = []
    found = fill(trials, ledger, ReproduceSettings(data_root=tmp_path / "data"), told.append)
    assert found == told
    return [it.state for it in found]


def test_a_trial_that_ends_leaves_them(trial, where, ledger) -> None:
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    (kept,) = ledger.outcomes(trial.id).values()
    record = ledger.record(trial.id)
    assert tuple(100 * (1 - kept.right.mean(1))) == pytest.approx(record.result.errors)
    assert kept.costs == record.result.costs


def test_nothing_is_left_where_nobody_wants_it_and_they_are_filled_in_to_the_bit(
    trial, where, ledger, tmp_path
) -> None:
    assert run_trial(replace(trial, keep=Keep(outcomes=False)), where, lambda epochs: None).state is TrialState.FINISHED
    path = ledger.folder(trial.id) / NAME
    assert not path.exists()
    assert ledger.outcomes(trial.id) == {}
    assert filled([trial], ledger, tmp_path) == [Kept.WRITTEN]
    late = path.read_bytes()
    assert filled([trial], ledger, tmp_path) == [Kept.THERE]
    # As they are where they are written in training.
    other = WorkerContext(storage=tmp_path / "other", data_root=tmp_path / "data")
    assert run_trial(trial, other, lambda epochs: None).state is TrialState.FINISHED
    assert (tmp_path / "other" / "trials" / trial.id / NAME).read_bytes() == late


def test_what_is_damaged_is_named_and_made_again(trial, where, ledger, tmp_path, caplog) -> None:
    run_trial(trial, where, lambda epochs: None)
    path = ledger.folder(trial.id) / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert ledger.outcomes(trial.id) == {}
    assert f"{NAME} is damaged" in caplog.text
    assert filled([trial], ledger, tmp_path) == [Kept.WRITTEN]
    assert path.read_bytes() == whole


def test_a_trial_without_a_network_fails_alone(trial, make_trial, where, ledger, tmp_path) -> None:
    other = make_trial(seed=1, training=trial.config.training)
    for each in (trial, other):
        run_trial(replace(each, keep=Keep(outcomes=False)), where, lambda epochs: None)
    for path in (ledger.folder(trial.id) / "checkpoints").iterdir():
        path.unlink()
    pending = make_trial(seed=2)
    assert filled([trial, other, pending], ledger, tmp_path) == [Kept.FAILED, Kept.WRITTEN, Kept.PENDING]


def test_a_disk_that_is_full_fails_the_trial_which_then_goes_on_to_its_end(trial, where, ledger, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", NAME)

    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.ledger.ledger.Ledger.write_outcomes", full)
        assert run_trial(trial, where, lambda epochs: None).state is TrialState.FAILED
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    assert ledger.outcomes(trial.id)
