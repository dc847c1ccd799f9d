"""An attempt that was given up, and comes back at whatever moment, changes nothing that a later one has written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.execution import worker
from orchestrator.execution.worker import Outcome, WorkerContext, run_trial
from orchestrator.ledger import ledger as ledgers
from orchestrator.ledger.ledger import ElsewhereError, Ledger, SupersededError, now
from orchestrator.planning import plan as planning
from orchestrator.sweep.trial import TrialState

REPOSITORY = Path(__file__).parents[3]
WRITES = 7
"""Of a trial of two epochs that has begun: for each a checkpoint and its metrics, then outcomes, all metrics and the
result."""


@pytest.fixture
def where(ledger, tmp_path, monkeypatch) -> WorkerContext:
    monkeypatch.setattr(worker, "METRICS_INTERVAL", 0.0)
    return WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")


def at_write(number: int, do: Callable[[], None], monkeypatch) -> None:
    """Does something once, between the writing of a file under another name and the moment it takes its place."""
    sync, seen, begun = os.fsync, 0, Ledger.begin

    def begin(*arguments, **options):  # its own files do not count
        nonlocal seen
        before, seen = seen, 10**6
        try:
            return begun(*arguments, **options)
        finally:
            seen = before

    def synced(descriptor: int) -> None:
        nonlocal seen
        sync(descriptor)
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            seen += 1
            if seen == number:
                do()

    monkeypatch.setattr(Ledger, "begin", begin)
    monkeypatch.setattr(os, "fsync", synced)


def contents(ledger: Ledger, trial_id: str) -> dict[str, bytes]:
    folder = ledger.folder(trial_id)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def killed_after(epochs: int) -> Callable[[list], None]:
    def report(metrics: list) -> None:
        if metrics[-1].epoch >= epochs:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("epochs", [1, 2, None], ids=["at its first epoch", "at its last epoch", "finished"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_late_attempt_changes_no_file(make_trial, ledger, where, monkeypatch, number, epochs) -> None:
    trial, left = make_trial(), {}

    def another_attempt() -> None:
        if epochs is None:
            assert run_trial(trial, where, lambda metrics: None) == Outcome(TrialState.FINISHED)
        else:
            with pytest.raises(KeyboardInterrupt):
                run_trial(trial, where, killed_after(epochs))
        left.update(contents(ledger, trial.id))

    at_write(number, another_attempt, monkeypatch)
    late = run_trial(trial, where, lambda metrics: None)
    assert left, "the write did not happen"
    assert contents(ledger, trial.id) == left
    assert late.state is TrialState.INTERRUPTED
    assert "came back after another had begun" in str(late.error)
    assert not [path for path in ledger.folder(trial.id).rglob(".*") if path.is_file()]


def test_without_a_later_attempt_there_are_so_many_writes(make_trial, where, monkeypatch) -> None:
    seen = []
    at_write(WRITES, lambda: seen.append("the last"), monkeypatch)
    assert run_trial(make_trial(), where, lambda metrics: None) == Outcome(TrialState.FINISHED)
    assert seen == ["the last"]
    at_write(WRITES + 1, pytest.fail, monkeypatch)
    assert run_trial(make_trial(seed=1), where, lambda metrics: None) == Outcome(TrialState.FINISHED)


def test_a_late_failure_is_not_written(make_trial, ledger, monkeypatch) -> None:
    trial = make_trial()
    late = ledger.begin(trial)
    at_write(1, lambda: ledger.begin(trial), monkeypatch)
    with pytest.raises(SupersededError):
        ledger.fail(late, "late")
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    assert not (ledger.folder(trial.id) / "failure.json").exists()


def test_no_attempt_begins_in_the_moment_of_a_write(make_trial, ledger) -> None:
    """Two processes: one is in the middle of a write for half a second, then the other begins."""
    trial = make_trial()
    attempt = ledger.begin(trial)
    program = (
        "import sys, time; from pathlib import Path; from orchestrator.ledger.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1])); attempt = ledger.attempt(sys.argv[2])\n"
        "with ledger.fenced(attempt):\n"
        "    print('writing', flush=True); time.sleep(0.5)\n"
        "    assert ledger.attempt(sys.argv[2]) == attempt\n"
    )
    command = [sys.executable, "-c", program, str(ledger.storage), trial.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"writing\n"
        assert ledger.begin(trial).number == attempt.number + 1
    assert writer.returncode == 0


def test_a_writer_that_is_stopped_is_not_waited_for_for_ever(make_trial, ledger, monkeypatch, caplog) -> None:
    monkeypatch.setattr(ledgers, "LOCK_SECONDS", 0.05)
    trial = make_trial()
    with ledger.fenced(ledger.begin(trial)):
        assert ledger.begin(trial).number == 2
    assert "by a process that does nothing; going on" in caplog.text


# Two sweeps that share a trial


def test_a_trial_that_another_sweep_trains_now_is_left_to_it(make_trial, ledger, where) -> None:
    trial = make_trial()
    with ledger.drive("other"):
        ledger.begin(trial, "other")
        with pytest.raises(ElsewhereError):
            ledger.begin(trial, "mine")
        with ledger.drive("mine"):
            outcome = run_trial(
                trial, WorkerContext(storage=where.storage, data_root=where.data_root, sweep="mine"), print
            )
        assert (outcome.state, outcome.elsewhere) == (TrialState.RUNNING, "other")
        assert ledger.begin(trial, "other").number == 2  # its own driver may start it again
    assert ledger.elsewhere(trial.id, "mine") is None  # that driver is gone
    assert ledger.begin(trial, "mine").number == 3


def test_a_trial_that_another_sweep_failed_at_is_free(make_trial, ledger) -> None:
    trial = make_trial()
    with ledger.drive("other"):
        ledger.fail(ledger.begin(trial, "other"), "broken")
        assert ledger.begin(trial, "mine").sweep == "mine"


def test_an_attempt_of_an_earlier_driver_of_the_other_sweep_is_nobodys(make_trial, ledger, monkeypatch) -> None:
    trial = make_trial()
    monkeypatch.setattr(ledgers, "now", lambda: "2026-01-01T00:00:00+00:00")
    ledger.begin(trial, "other")
    monkeypatch.setattr("orchestrator.ledger.sweeps.now", lambda: "2026-01-01T00:00:01+00:00")
    with ledger.drive("other"):
        assert ledger.elsewhere(trial.id, "mine") is None


def test_an_attempt_that_an_older_version_wrote_down_is_of_no_sweep(make_trial, ledger) -> None:
    trial = make_trial()
    ledger.begin(trial)
    path = ledger.folder(trial.id) / "attempt.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in content.items() if name not in ("sweep", "sha256")}))
    attempt = ledger.attempt(trial.id)
    assert attempt is not None
    assert attempt.sweep == ""


@pytest.mark.parametrize("behind", [-180, 180])
def test_the_clocks_of_a_driver_and_its_workers_are_not_compared(make_trial, ledger, monkeypatch, behind) -> None:
    """A worker's node may be minutes behind, and a clock may be set back."""
    trial, own = make_trial(), now()
    monkeypatch.setattr("orchestrator.ledger.sweeps.now", lambda: own)
    with ledger.drive("other", "the driver"):
        worker = (datetime.fromisoformat(own) - timedelta(seconds=behind)).isoformat(timespec="seconds")
        monkeypatch.setattr(ledgers, "now", lambda: worker)
        ledger.begin(trial, "other", driver="the driver")
        assert ledger.standing(trial.id).under(ledger.driver("other")) is TrialState.RUNNING
        assert ledger.elsewhere(trial.id, "mine") == "other"
        with pytest.raises(ElsewhereError):
            ledger.begin(trial, "mine")
        plan = planning.make([trial], ledger, with_running=True)
        assert (plan.entries[0].action, plan.entries[0].reason.partition(",")[0]) == (
            "running",
            "sweep other trains it now",
        )
        assert planning.summary(plan) == "1 trial: 1 running"
    with ledger.drive("other", "the next driver"):
        assert ledger.standing(trial.id).under(ledger.driver("other")) is TrialState.INTERRUPTED
        assert ledger.elsewhere(trial.id, "mine") is None
