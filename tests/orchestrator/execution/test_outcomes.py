"""Outcomes are written as a trial ends, unless nobody wants them, and later for those that lack them, to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anytime_core.config import TrainingConfig
from anytime_core.trained import network_hash
from anytime_core.training import checkpoint
from orchestrator.execution.outcomes import fill_trial
from orchestrator.execution.worker import DriverLink, Outcome, WorkerContext, run_trial
from orchestrator.sweep.keep import Keep
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweep.trial import Trial, TrialState

NAME = "outcomes.parquet"


@pytest.fixture
def where(ledger, tmp_path) -> WorkerContext:
    return WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")


@pytest.fixture
def trial(make_trial) -> Trial:
    return make_trial(training=TrainingConfig(steps=22, batch_size=64, learning_rate={0: 0.1}))


def filled(trial, where) -> Outcome:
    return fill_trial(trial, where, lambda epochs: None, DriverLink())


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
    assert filled(trial, where).state is TrialState.FINISHED
    late, written = path.read_bytes(), path.stat().st_mtime_ns
    # As they are where they are written in training.
    other = WorkerContext(storage=tmp_path / "other", data_root=tmp_path / "data")
    assert run_trial(trial, other, lambda epochs: None).state is TrialState.FINISHED
    assert (tmp_path / "other" / "trials" / trial.id / NAME).read_bytes() == late
    # What another command has written meanwhile stays.
    assert filled(trial, where).state is TrialState.FINISHED
    assert path.stat().st_mtime_ns == written


def test_what_is_damaged_is_named_and_made_again(trial, where, ledger) -> None:
    run_trial(trial, where, lambda epochs: None)
    path = ledger.folder(trial.id) / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    outcome = filled(trial, where)
    assert outcome.state is TrialState.FINISHED
    assert any(f"{NAME} is damaged" in note for note in outcome.notes)
    assert path.read_bytes() == whole


def test_what_goes_wrong_is_returned_with_its_kind(trial, where, ledger, monkeypatch) -> None:
    run_trial(replace(trial, keep=Keep(outcomes=False)), where, lambda epochs: None)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device", NAME)

    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.ledger.ledger.Ledger.fill_outcomes", fails)
        full = filled(trial, where)
    assert (full.state, full.kind) == (TrialState.FAILED, FailureKind.STORAGE)
    assert full.error == f"{NAME}: No space left on device"
    for path in (ledger.folder(trial.id) / "checkpoints").iterdir():
        path.unlink()
    lost = filled(trial, where)
    assert (lost.state, lost.kind) == (TrialState.FAILED, FailureKind.INPUT)
    assert "nothing is saved of the network" in lost.error
    assert "without training it again" in lost.error
    assert ledger.outcomes(trial.id) == {}


def test_those_of_another_network_are_named_and_made_again(trial, make_trial, where, ledger, caplog) -> None:
    """As they are left where a trial is trained anew and keeps none, or a file is copied to the wrong place."""
    other = make_trial(training=trial.config.training, seed=7)
    for each in (trial, other):
        run_trial(each, where, lambda epochs: None)
    path = ledger.folder(trial.id) / NAME
    own = path.read_bytes()
    path.write_bytes((ledger.folder(other.id) / NAME).read_bytes())
    assert ledger.outcomes(trial.id) == {}
    hashes = [ledger.record(each.id).provenance["network_hash"] for each in (other, trial)]
    assert f"{path} is of network {hashes[0]}, and its trial trained {hashes[1]}; it counts as missing" in caplog.text
    assert ledger.lacking_outcomes([trial.id, other.id]) == [trial.id]
    assert filled(trial, where).state is TrialState.FINISHED
    assert path.read_bytes() == own


def test_outcomes_that_name_no_network_are_taken_as_the_trials_own(trial, where, ledger) -> None:
    run_trial(trial, where, lambda epochs: None)
    kept = ledger.outcomes(trial.id)
    ledger.fill_outcomes(trial.id, kept)
    assert ledger.lacking_outcomes([trial.id]) == []


def test_none_are_made_of_a_network_that_is_not_the_one_that_was_trained(trial, where, ledger) -> None:
    run_trial(replace(trial, keep=Keep(outcomes=False)), where, lambda epochs: None)
    folder = ledger.checkpoints(trial.id)
    saved = checkpoint.latest(folder)
    name = next(name for name in saved.arrays if name.startswith("network/"))
    saved.arrays[name] = saved.arrays[name] + 1
    checkpoint.save(folder, 22, saved)
    outcome = filled(trial, where)
    assert (outcome.state, outcome.kind) == (TrialState.FAILED, FailureKind.INPUT)
    trained = ledger.record(trial.id).provenance["network_hash"]
    assert f"holds network {network_hash(folder)}, and the one that was trained was {trained}" in outcome.error
    assert not (ledger.folder(trial.id) / NAME).exists()


def test_nothing_is_begun_that_is_held(trial, where, ledger, monkeypatch) -> None:
    run_trial(replace(trial, keep=Keep(outcomes=False)), where, lambda epochs: None)
    monkeypatch.setattr(DriverLink, "held", lambda *_: True)
    assert filled(trial, where).state is TrialState.PENDING
    assert ledger.outcomes(trial.id) == {}


def test_a_disk_that_is_full_fails_the_trial_which_then_goes_on_to_its_end(trial, where, ledger, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", NAME)

    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.ledger.ledger.Ledger.write_outcomes", full)
        assert run_trial(trial, where, lambda epochs: None).state is TrialState.FAILED
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    assert ledger.outcomes(trial.id)
