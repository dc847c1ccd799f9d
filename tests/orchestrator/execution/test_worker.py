"""A worker trains a trial once, to the trainer's own numbers, whatever interrupts it; what goes wrong is an outcome."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from anytime_core.config import Aann, DataConfig, Exp3, Joint, NetworkConfig, Opt, TrainingConfig
from anytime_core.result import OF_THE_MACHINE, EpochMetrics
from anytime_core.trained import load_network
from anytime_core.training.trainer import train
from orchestrator.execution import pace, worker
from orchestrator.execution.worker import DriverLink, Outcome, WorkerContext, run_trial
from orchestrator.ledger.ledger import Attempt, Ledger
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweep.trial import Pause, Trial, TrialState
from orchestrator.system.sources import imported_from, sources
from orchestrator.system.training_code import training_code

EPOCHS = 3
STEPS = 22 * EPOCHS
FINISHED, DIVERGED = Outcome(TrialState.FINISHED), Outcome(TrialState.DIVERGED)

Reports = list[list[EpochMetrics]]


class KilledError(Exception):
    pass


@pytest.fixture
def where(ledger, tmp_path) -> WorkerContext:
    return WorkerContext(storage=ledger.storage, data_root=tmp_path / "data", code_version="v1")


@pytest.fixture(scope="module")
def trial(make_trial) -> Trial:
    return make_trial(Joint(strategy=Exp3()), training=training(STEPS))


def training(steps: int, rate: float = 0.1) -> TrainingConfig:
    return TrainingConfig(steps=steps, batch_size=64, learning_rate={0: rate, 44: rate / 10})


@pytest.fixture(scope="module")
def direct(trial) -> list[EpochMetrics]:
    """What the trainer gives when nobody stands between."""
    epochs: list[EpochMetrics] = []
    train(trial.config, epochs.append, device="cpu", threads=1)
    return epochs


def timeless(epochs: list[EpochMetrics]) -> list[EpochMetrics]:
    return [replace(epoch, **dict.fromkeys(OF_THE_MACHINE, 0.0)) for epoch in epochs]


def raising(error: BaseException, at: int, reports: Reports) -> Callable[[list[EpochMetrics]], None]:
    """A driver that goes away when it is told of an epoch."""

    def report(epochs: list[EpochMetrics]) -> None:
        reports.append(list(epochs))
        if epochs[-1].epoch == at:
            raise error

    return report


# To the end


def test_a_trial_finishes_with_the_numbers_of_the_trainer(trial, direct, where, ledger) -> None:
    reports: Reports = []
    assert run_trial(trial, where, reports.append) == FINISHED
    assert [[epoch.epoch for epoch in epochs] for epochs in reports] == [[1], [2], [3]]
    told = [epoch for epochs in reports for epoch in epochs]
    assert timeless(told) == timeless(direct)
    assert ledger.epochs(trial.id) == told

    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.errors == direct[-1].test_error
    assert (record.result.units, record.result.steps, record.result.device) == ((1, 2, 3), STEPS, "cpu")
    assert (record.trial_id, record.attempts, record.state) == (trial.id, 1, TrialState.FINISHED)
    assert record.provenance["code_version"] == "v1"
    assert record.provenance["code"] == training_code(trial.config)
    assert "snapshot" not in record.provenance
    assert record.provenance["threads"] == 1
    assert {"data_hash", "host", "ended", "python", "torch", "numpy"} <= record.provenance.keys()
    assert load_network(ledger.checkpoints(trial.id)).training is False
    assert len(list((ledger.folder(trial.id) / "checkpoints").iterdir())) == 1


def test_a_trial_that_goes_on_by_other_code_was_trained_by_both(trial, where, ledger, monkeypatch) -> None:
    def interrupt(epochs: object) -> None:
        raise KeyboardInterrupt

    codes = iter(["one", "one", "two"])
    monkeypatch.setattr(worker, "training_code", lambda config: next(codes))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, where, interrupt)
    run_trial(trial, replace(where, snapshot="a name"), lambda epochs: None)
    record = ledger.record(trial.id)
    assert record is not None
    assert record.attempts == 3
    assert record.provenance["code"] == "one; two"
    assert record.provenance["snapshot"] == "a name"


def test_a_trial_that_ended_is_not_run_again(trial, where, ledger, monkeypatch) -> None:
    run_trial(trial, where, lambda epochs: None)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(ledger)}
    monkeypatch.setattr(worker, "_train", pytest.fail)
    assert run_trial(trial, where, pytest.fail) == FINISHED
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(ledger)} == before


def files(ledger: Ledger) -> list[Path]:
    return [path for path in ledger.storage.rglob("*") if path.is_file()]


def test_an_optimum_has_the_error_of_its_one_prediction(make_trial, where, ledger) -> None:
    trial = make_trial(Opt(unit=2))
    assert run_trial(trial, where, lambda epochs: None) == FINISHED
    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.units == (2,)
    assert record.result.errors == train(trial.config, device="cpu", threads=1).errors


# Interrupted


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), TrialState.INTERRUPTED), (KilledError("gone"), TrialState.FAILED)],
    ids=["by the end of its process", "by an error"],
)
def test_an_interrupted_trial_goes_on_to_the_same_bits(trial, direct, where, ledger, at, error, state) -> None:
    first: Reports = []
    if state is TrialState.INTERRUPTED:
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, where, raising(error, at, first))
    else:
        outcome = run_trial(trial, where, raising(error, at, first))
        assert outcome == Outcome(TrialState.FAILED, "KilledError: gone", FailureKind.BUG)
    assert ledger.state(trial.id) is state
    assert ledger.step(trial.id) == 22 * at
    assert [[epoch.epoch for epoch in epochs] for epochs in first] == [[epoch] for epoch in range(1, at + 1)]

    second: Reports = []
    assert run_trial(trial, where, second.append) == FINISHED
    together = min(at + 1, EPOCHS)  # what was restored comes with the first that is new
    expected = [list(range(1, together + 1)), *([epoch] for epoch in range(together + 1, EPOCHS + 1))]
    assert [[epoch.epoch for epoch in epochs] for epochs in second] == expected
    told = [epoch for epochs in second for epoch in epochs]
    assert told[:at] == [epoch for epochs in first for epoch in epochs]  # times too: these were not trained again
    assert timeless(told) == timeless(direct)
    assert ledger.epochs(trial.id) == told
    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.errors == direct[-1].test_error
    assert record.attempts == 2
    assert ledger.failure(trial.id) is None


def test_a_trial_whose_result_was_damaged_is_finished_again(trial, direct, where, ledger) -> None:
    run_trial(trial, where, lambda epochs: None)
    result = ledger.folder(trial.id) / "result.json"
    result.write_bytes(result.read_bytes()[:-10])
    reports: Reports = []
    outcome = run_trial(trial, where, reports.append)
    assert outcome.state is TrialState.FINISHED
    assert any("kept as result.json.damaged" in note for note in outcome.notes)
    assert [[epoch.epoch for epoch in epochs] for epochs in reports] == [[1, 2, 3]]  # from its checkpoint
    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.errors == direct[-1].test_error


def test_metrics_are_written_at_intervals_and_in_the_end(trial, where, ledger, monkeypatch) -> None:
    written: list[int] = []
    write = Ledger.write_epochs

    def counted(*arguments: object) -> None:
        written.append(len(arguments[4]))  # type: ignore[arg-type]
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "write_epochs", counted)
    for interval, expected in ((0.0, [1, 2, 3, 3]), (3600.0, [1, 3])):
        monkeypatch.setattr(worker, "METRICS_INTERVAL", interval)
        written.clear()
        again = replace(trial, id=f"{interval:016}")
        assert run_trial(again, where, lambda epochs: None) == FINISHED
        assert written == expected
        assert len(ledger.epochs(again.id)) == EPOCHS


# How often it is saved


def test_where_checkpoints_may_take_little_time_there_are_few_and_nothing_else_changes(
    trial, direct, where, ledger
) -> None:
    reports: Reports = []
    assert run_trial(trial, replace(where, checkpoint_share=1e-9), reports.append) == FINISHED
    assert [[epoch.epoch for epoch in epochs] for epochs in reports] == [[1], [2, 3]]
    told = [epoch for epochs in reports for epoch in epochs]
    assert timeless(told) == timeless(direct)
    assert ledger.epochs(trial.id) == told


def test_a_trial_that_is_told_to_stop_is_saved_first_however_long_ago_that_was(trial, where, ledger) -> None:
    class Stopping(DriverLink):
        answers = iter([False, False, True])  # before it begins, after the first epoch and the second

        def held(self, trial: Trial) -> bool:
            return next(self.answers)

    reports: Reports = []
    outcome = run_trial(trial, replace(where, checkpoint_share=1e-9), reports.append, Stopping())
    assert outcome == Outcome(TrialState.INTERRUPTED, "stopped at step 44; its state is saved")
    assert [[epoch.epoch for epoch in epochs] for epochs in reports] == [[1], [2]]
    assert ledger.step(trial.id) == 44
    assert len(ledger.epochs(trial.id)) == 2


def test_beats_say_how_far_the_trial_is_within_its_epochs_and_after_a_checkpoint(trial, where) -> None:
    class Hearing(DriverLink):
        def __init__(self) -> None:
            self.heard: list[tuple[int, int]] = []

        def beat(self, attempt: Attempt, steps: int, step: int) -> None:
            self.heard.append((steps, step))

    first, second = Hearing(), Hearing()
    run_trial(trial, where, raising(RuntimeError("gone"), 2, []), first)
    assert run_trial(trial, where, lambda epochs: None, second) == FINISHED
    assert list(dict.fromkeys(first.heard)) == [(step, step) for step in range(45)]
    made = list(dict.fromkeys(said for said in second.heard if said[0]))
    assert made == [(steps, 44 + steps) for steps in range(1, 23)]


@pytest.mark.parametrize("share", [0.01, 0.02, 0.3, 1.0])
def test_checkpoints_take_no_more_than_their_share(monkeypatch, share: float) -> None:
    """On a clock of its own: epochs of any length, saved in any time, but for the first ever and the last."""
    clock, rng = [0.0], random.Random(0)
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    paced, saving = pace.Pace(share), []
    for _ in range(3000):
        clock[0] += rng.uniform(0.1, 3)
        if paced.due():
            paced.begin()
            saving.append(rng.uniform(0.5, 1.5))
            clock[0] += saving[-1]
            paced.end()
    assert sum(saving[:-1]) <= share * clock[0]
    assert len(saving) == 3000 if share == 1 else sum(saving) >= share * clock[0] / 4


# Superseded


@pytest.mark.parametrize("error", [None, RuntimeError("late")], ids=["at work", "failing"])
def test_an_attempt_that_another_took_over_from_writes_no_more(trial, where, ledger, error) -> None:
    told: list[int] = []

    def report(epochs: list[EpochMetrics]) -> None:
        told.extend(epoch.epoch for epoch in epochs)
        if epochs[-1].epoch == 2:
            ledger.begin(trial)
            if error:
                raise error

    outcome = run_trial(trial, where, report)
    assert outcome == Outcome(TrialState.INTERRUPTED, f"{trial.id}: attempt 1 came back after another had begun")
    assert told == [1, 2]  # and says no more
    assert ledger.attempts(trial.id) == 2
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    assert ledger.failure(trial.id) is ledger.record(trial.id) is None


# What goes wrong


def test_a_data_set_that_is_not_there_fails_the_trial_with_the_reason(make_trial, where, ledger) -> None:
    trial = make_trial(data=DataConfig(name="cifar10", flip=True))
    outcome = run_trial(trial, where, pytest.fail)
    assert outcome.state is TrialState.FAILED
    assert outcome.error is not None
    assert f"orchestrate data fetch cifar10 --root {where.data_root}" in outcome.error
    assert ledger.state(trial.id) is TrialState.FAILED
    assert ledger.failure(trial.id) == outcome.error
    failure = json.loads((ledger.folder(trial.id) / "failure.json").read_text())
    assert failure["traceback"].startswith("Traceback (most recent call last)")
    assert "DataError" in failure["traceback"]
    assert failure["attempt"] == 1


def test_an_unexpected_error_is_named_with_its_kind_and_traceback(trial, where, ledger, monkeypatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(worker, "images_for", explode)
    expected = Outcome(TrialState.FAILED, "ZeroDivisionError: by zero", FailureKind.BUG)
    assert run_trial(trial, where, pytest.fail) == expected
    failure = json.loads((ledger.folder(trial.id) / "failure.json").read_text())
    assert "in explode" in failure["traceback"]


def test_what_a_node_keeps_secret_is_not_written_down_nor_told(trial, where, ledger, monkeypatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("postgresql://me:hun/ter@db refused s3cr3t-of-node")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-node")
    monkeypatch.setattr(worker, "images_for", explode)
    outcome = run_trial(trial, where, pytest.fail)
    assert outcome.error == "RuntimeError: postgresql://me:***@db refused ***"
    written = (ledger.folder(trial.id) / "failure.json").read_text()
    assert [secret for secret in ("hun/ter", "s3cr3t") for text in (written, str(outcome)) if secret in text] == []


def test_a_batch_larger_than_the_data_fails_the_trial(make_trial, where) -> None:
    trial = make_trial(training=TrainingConfig(steps=1, batch_size=2000))
    outcome = run_trial(trial, where, pytest.fail)
    assert outcome == Outcome(TrialState.FAILED, outcome.error, FailureKind.INPUT)
    assert "fewer than one batch of 2000" in str(outcome.error)


def test_a_trial_that_diverges_ends_without_errors(make_trial, where, ledger) -> None:
    trial = make_trial(Joint(strategy=Aann()), training=training(STEPS, rate=1e30))
    reports: Reports = []
    assert run_trial(trial, where, reports.append) == DIVERGED
    record = ledger.record(trial.id)
    assert record is not None
    assert (record.state, record.result.errors) == (TrialState.DIVERGED, ())
    assert record.result.steps < STEPS
    (epoch,) = ledger.epochs(trial.id)
    assert epoch.diverged
    assert "NaN" not in (ledger.folder(trial.id) / "result.json").read_text()
    assert run_trial(trial, where, pytest.fail) == DIVERGED


def test_storage_that_cannot_be_written_is_an_outcome(trial, where, tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    outcome = run_trial(trial, replace(where, storage=tmp_path / "file"), pytest.fail)
    assert outcome.state is TrialState.FAILED
    assert outcome.error == f"{tmp_path / 'file'}: storage cannot be written: Not a directory"


def test_a_failure_that_cannot_be_written_down_is_told_all_the_same(trial, where, ledger) -> None:
    (ledger.folder(trial.id) / "failure.json").mkdir(parents=True)
    outcome = run_trial(trial, where, raising(KilledError("gone"), 1, []))
    assert outcome.state is TrialState.FAILED
    assert str(outcome.error).startswith("KilledError: gone; this could not be written down: ")
    assert ledger.state(trial.id) is TrialState.INTERRUPTED


def test_a_worker_lives_on_after_a_trial_that_failed(trial, make_trial, direct, where, ledger) -> None:
    run_trial(make_trial(data=DataConfig(name="svhn")), where, pytest.fail)
    wide = make_trial(network=NetworkConfig(n=1, c=3), training=training(STEPS))
    assert run_trial(wide, where, lambda epochs: None) == FINISHED
    assert run_trial(trial, where, lambda epochs: None) == FINISHED
    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.errors == direct[-1].test_error


TRAINS = """
import sys
from pathlib import Path
from orchestrator.sweepfile.load import load
from orchestrator.execution.worker import WorkerContext, run_trial
(trial,) = load(Path("one.yaml")).trials
print(run_trial(trial, WorkerContext(storage=Path("runs"), data_root=Path("data")), lambda epochs: None).state)
print(*{"sklearn", "mlflow", "matplotlib"} & sys.modules.keys())
"""


def test_nothing_that_takes_a_second_is_imported_but_what_trains(tmp_path: Path) -> None:
    """Every worker of every command would pay for it."""
    grid = "name: one\nnetworks: [{n: 1, c: 1}]\ndatasets: [digits]\nmethods: {ann: {}}\n"
    (tmp_path / "one.yaml").write_text(f"{grid}training: {{steps: 1, batch_size: 64, learning_rate: {{0: 0.1}}}}\n")
    command = [sys.executable, "-W", "ignore", "-c", TRAINS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["finished", ""]


def test_a_worker_with_other_code_than_the_drivers_trains_nothing_and_says_where_both_lie(make_trial, tmp_path) -> None:
    trial = make_trial()
    where = WorkerContext(
        storage=tmp_path, data_root=tmp_path, sources="0123456789ab", imports="/elsewhere/anytime_core"
    )
    outcome = run_trial(trial, where, lambda epochs: None)
    assert outcome.state is TrialState.FAILED
    assert outcome.kind is FailureKind.INPUT
    assert outcome.error
    for part in (str(imported_from("anytime_core")), sources(), "/elsewhere/anytime_core", "0123456789ab"):
        assert part in outcome.error
    assert not Ledger(tmp_path).attempt(trial.id)


def test_the_sources_that_trained_are_written_down(make_trial, tmp_path) -> None:
    trial = make_trial()
    run_trial(trial, WorkerContext(storage=tmp_path, data_root=tmp_path, sources=sources()), lambda epochs: None)
    record = Ledger(tmp_path).record(trial.id)
    assert record
    assert record.provenance["sources"] == sources()


# With a pause


def paused(trial: Trial, step: int) -> Trial:
    return replace(trial, pause=Pause(step=step, likely=step))


def test_a_trial_pauses_at_the_epoch_that_reaches_a_step_and_goes_on_to_the_same_bits(
    trial, direct, where, ledger
) -> None:
    """Where checkpoints are rare, too; and however often it is told."""
    rare, reports = replace(where, checkpoint_share=1e-9), Reports()
    assert run_trial(paused(trial, 23), rare, reports.append) == Outcome(TrialState.PAUSED)
    assert ledger.step(trial.id) == 44
    assert timeless(ledger.epochs(trial.id)) == timeless(direct[:2])
    assert ledger.state(trial.id) is TrialState.PAUSED
    (ledger.folder(trial.id) / "metrics.parquet").unlink()  # as if it was killed before it wrote them
    again: Reports = []
    assert run_trial(paused(trial, 23), rare, again.append) == Outcome(TrialState.PAUSED)
    assert again == [ledger.epochs(trial.id)]
    assert ledger.step(trial.id) == 44
    assert run_trial(trial, rare, reports.append) == FINISHED
    assert timeless(ledger.epochs(trial.id)) == timeless(direct)


def test_a_pause_at_the_end_is_none(trial, direct, where, ledger) -> None:
    assert run_trial(paused(trial, STEPS - 1), where, lambda epochs: None) == FINISHED


def test_one_that_diverges_before_its_pause_has_ended(make_trial, where, ledger) -> None:
    wild = make_trial(training=training(STEPS, rate=1e30))
    assert run_trial(paused(wild, 22), where, lambda epochs: None) == DIVERGED
