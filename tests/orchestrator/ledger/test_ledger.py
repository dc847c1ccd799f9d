"""The ledger tells what became of each trial, whatever happened to its files and to the processes that wrote them."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anytime_core import files
from anytime_core.config import Opt, to_dict
from orchestrator.errors import HeldError, StorageError
from orchestrator.ledger.ledger import Attempt, Ledger, SupersededError
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState

REPOSITORY = Path(__file__).parents[3]
UNITS, COSTS = (1, 2, 3), (10, 20, 30)
ERRORS = (30.5, 20.25, 10.125)


@pytest.fixture
def trial(make_trial) -> Trial:
    return make_trial()


@pytest.fixture
def record(trial, make_record) -> TrialRecord:
    return make_record(trial, ERRORS)


def checkpoint(ledger: Ledger, trial: Trial, step: int) -> Path:
    path = ledger.folder(trial.id) / "checkpoints" / f"step-{step:09d}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a network")
    return path


# From state to state


def test_a_trial_that_never_began_is_pending(ledger, trial) -> None:
    assert ledger.state(trial.id) is TrialState.PENDING
    assert ledger.record(trial.id) is ledger.failure(trial.id) is ledger.attempt(trial.id) is None
    assert ledger.attempts(trial.id) == ledger.step(trial.id) == 0
    assert ledger.epochs(trial.id) == []
    assert list((ledger.storage / "trials").iterdir()) == []


def test_a_trial_that_began_is_interrupted_until_it_ends(ledger, trial, make_epochs) -> None:
    attempt = ledger.begin(trial)
    assert (attempt.number, attempt.host, attempt.pid) == (1, socket.gethostname(), os.getpid())
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    assert ledger.attempt(trial.id) == attempt
    assert json.loads((ledger.folder(trial.id) / "config.json").read_text()) == to_dict(trial.config)
    ledger.write_epochs(attempt, UNITS, COSTS, make_epochs(2, 3))
    checkpoint(ledger, trial, 22)
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    assert ledger.epochs(trial.id) == make_epochs(2, 3)
    assert ledger.step(trial.id) == 22


def test_a_finished_trial_has_its_record_and_its_last_checkpoint(ledger, trial, record) -> None:
    attempt = ledger.begin(trial)
    checkpoint(ledger, trial, 22)
    last = checkpoint(ledger, trial, 44)
    ledger.finish(attempt, record)
    assert ledger.state(trial.id) is TrialState.FINISHED
    assert ledger.record(trial.id) == record
    assert list((ledger.folder(trial.id) / "checkpoints").iterdir()) == [last]


def test_a_diverged_trial_has_no_errors(ledger, trial, make_record) -> None:
    ledger.finish(ledger.begin(trial), make_record(trial, None))
    assert ledger.state(trial.id) is TrialState.DIVERGED
    ended = ledger.record(trial.id)
    assert ended is not None
    assert ended.result.errors == ()


def test_a_failed_trial_says_why_until_it_is_tried_again(ledger, trial, record) -> None:
    ledger.fail(ledger.begin(trial), "no such file", "Traceback: line 1")
    assert ledger.state(trial.id) is TrialState.FAILED
    assert ledger.failure(trial.id) == "no such file"
    assert "Traceback: line 1" in (ledger.folder(trial.id) / "failure.json").read_text()

    again = ledger.begin(trial)
    assert again.number == 2
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    assert ledger.failure(trial.id) is None

    ledger.fail(again, "no memory", "")
    assert ledger.failure(trial.id) == "no memory"
    ledger.finish(ledger.begin(trial), record)
    assert ledger.state(trial.id) is TrialState.FINISHED
    assert ledger.failure(trial.id) is None
    assert ledger.attempts(trial.id) == 3


def test_trials_do_not_touch_each_other(ledger, trial, record, make_trial) -> None:
    other = make_trial(Opt(unit=1))
    ledger.finish(ledger.begin(trial), record)
    assert ledger.state(other.id) is TrialState.PENDING
    ledger.begin(other)
    assert (ledger.state(trial.id), ledger.state(other.id)) == (TrialState.FINISHED, TrialState.INTERRUPTED)


# An attempt that was given up and comes back


def forbidden(ledger: Ledger, attempt: Attempt, record: TrialRecord) -> Iterator[Callable[[], None]]:
    """All that an attempt can write."""
    yield lambda: ledger.check(attempt)
    yield lambda: ledger.write_epochs(attempt, UNITS, COSTS, [])
    yield lambda: ledger.finish(attempt, record)
    yield lambda: ledger.fail(attempt, "late", "")


def contents(ledger: Ledger) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in ledger.storage.rglob("*") if path.is_file()}


def test_a_superseded_attempt_writes_nothing(ledger, trial, record, make_epochs) -> None:
    late, now = ledger.begin(trial), ledger.begin(trial)
    ledger.write_epochs(now, UNITS, COSTS, make_epochs(1, 3))
    checkpoint(ledger, trial, 22)
    checkpoint(ledger, trial, 44)
    before = contents(ledger)
    for write in forbidden(ledger, late, record):
        with pytest.raises(SupersededError, match=f"{trial.id}: attempt 1 came back after another had begun"):
            write()
    assert contents(ledger) == before
    ledger.finish(now, record)
    assert ledger.attempts(trial.id) == 2


def test_an_attempt_is_known_by_more_than_its_number(ledger, trial, record) -> None:
    now = ledger.begin(trial)
    for write in forbidden(ledger, replace(now, token="another"), record):
        with pytest.raises(SupersededError):
            write()


def test_nothing_is_written_after_the_end(ledger, trial, record, make_record) -> None:
    attempt = ledger.begin(trial)
    ledger.finish(attempt, record)
    before = contents(ledger)
    for write in forbidden(ledger, attempt, make_record(trial, (1.0, 1.0, 1.0))):
        with pytest.raises(SupersededError):
            write()
    assert contents(ledger) == before


# Damaged files


def rewritten(name: str, **values: Any) -> Callable[[Path], None]:
    """With other values; None takes a key out. Without its checksum, as an older version wrote it."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | values
        left = {key: value for key, value in content.items() if value is not None and key != "sha256"}
        (folder / name).write_text(json.dumps(left))

    return damage


def result_rewritten(**values: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        result = json.loads((folder / "result.json").read_text())["result"]
        rewritten("result.json", result=result | values)(folder)

    return damage


def read_all(ledger: Ledger, trial: Trial) -> None:
    """Every reader; none may raise."""
    ledger.record(trial.id)
    ledger.failure(trial.id)
    ledger.state(trial.id)
    ledger.attempt(trial.id)
    ledger.attempts(trial.id)
    ledger.step(trial.id)
    ledger.epochs(trial.id)


def full(ledger: Ledger, trial: Trial, record: TrialRecord, epochs: list) -> Path:
    """A trial that failed once and then finished: it has every file there is."""
    ledger.fail(ledger.begin(trial), "no memory", "Traceback")
    attempt = ledger.begin(trial)
    ledger.write_epochs(attempt, UNITS, COSTS, epochs)
    ledger.finish(attempt, record)
    return ledger.folder(trial.id)


OTHER = [b"", bytes(300), b"null", b"[]", b'"a"', b"{}", b'{"result": 3}', b'{"a": 1}', b"[" * 50_000, b"\xff"]
NAMES = ["result.json", "attempt.json", "failure.json", "metrics.parquet"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_file_cut_short_is_as_good_as_none(ledger, trial, record, make_epochs, caplog, name, seed) -> None:
    caplog.set_level(logging.CRITICAL, "orchestrator.ledger")
    path, rng = full(ledger, trial, record, make_epochs(2, 3)) / name, random.Random(seed)
    whole = path.read_bytes()
    for length in (0, *(rng.randrange(len(whole)) for _ in range(20))):
        path.write_bytes(whole[:length])
        read_all(ledger, trial)
        assert (ledger.record(trial.id) == record) == (name != "result.json")
        assert ledger.attempts(trial.id) == (0 if name == "attempt.json" else 2)
        assert ledger.epochs(trial.id) == ([] if name == "metrics.parquet" else make_epochs(2, 3))
        assert ledger.failure(trial.id) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", OTHER, ids=list(map(repr, range(len(OTHER)))))
def test_other_content_is_as_good_as_none(ledger, trial, record, make_epochs, name, content) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    (folder / name).write_bytes(content)
    read_all(ledger, trial)
    assert (ledger.record(trial.id) == record) == (name != "result.json")
    assert ledger.attempts(trial.id) == (0 if name == "attempt.json" else 2)
    assert len(ledger.epochs(trial.id)) == (0 if name == "metrics.parquet" else 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_the_place_of_a_file_is_as_good_as_none(ledger, trial, record, make_epochs, name) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    (folder / name).unlink()
    (folder / name).mkdir()
    read_all(ledger, trial)
    assert ledger.state(trial.id) is (TrialState.INTERRUPTED if name == "result.json" else TrialState.FINISHED)


@pytest.mark.parametrize(
    "damage",
    [
        rewritten("result.json", trial_id="of another"),
        rewritten("result.json", attempts=None),
        result_rewritten(errors=[1.0]),
        result_rewritten(errors=[1.0, 2.0, math.nan]),
        result_rewritten(units=3),
        result_rewritten(errors=["1", "2", "3"]),
        result_rewritten(errors=[1.0, 2.0, 10**400]),
        result_rewritten(errors=[1.0, 2.0, True]),
        result_rewritten(costs=[None, None, None]),
        result_rewritten(state="running", errors=[]),
        result_rewritten(state="done", errors=[]),
        rewritten("attempt.json", number="two"),
        rewritten("attempt.json", began=3),
        rewritten("attempt.json", token=None),
    ],
)
def test_json_that_says_what_cannot_be_is_as_good_as_none(ledger, trial, record, make_epochs, damage) -> None:
    damage(full(ledger, trial, record, make_epochs(2, 3)))
    read_all(ledger, trial)
    assert (ledger.record(trial.id) is None) != (ledger.attempts(trial.id) == 0)


def test_damage_is_named_in_the_log(ledger, trial, record, make_epochs, caplog) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    for name in NAMES[:2]:
        (folder / name).write_bytes(b"{")
    (folder / "metrics.parquet").write_bytes(b"PAR1")
    read_all(ledger, trial)
    for name in (*NAMES[:2], "metrics.parquet"):
        assert f"{folder / name} is damaged" in caplog.text


def test_a_trial_with_a_damaged_result_can_be_run_to_its_end(ledger, trial, record, make_epochs) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    (folder / "result.json").write_bytes(b"{")
    attempt = ledger.begin(trial)
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    ledger.write_epochs(attempt, UNITS, COSTS, make_epochs(2, 3))
    ledger.finish(attempt, record)
    assert ledger.record(trial.id) == record


def test_a_failure_is_not_taken_for_that_of_another_attempt(ledger, trial) -> None:
    """Where the count of attempts is lost, it begins at 1 again."""
    ledger.fail(ledger.begin(trial), "no memory", "")
    (ledger.folder(trial.id) / "attempt.json").write_bytes(b"")
    assert ledger.state(trial.id) is TrialState.PENDING
    assert ledger.begin(trial).number == 1
    assert ledger.state(trial.id) is TrialState.INTERRUPTED


def test_what_other_programs_left_in_the_storage_is_let_be(ledger, trial, record, make_epochs) -> None:
    full(ledger, trial, record, make_epochs(2, 3))
    (ledger.storage / "trials" / ".DS_Store").write_bytes(b"")
    (ledger.folder(trial.id) / ".result.json.123.abcd").write_bytes(b"{")
    assert ledger.record(trial.id) == record


# Storage that cannot be written


def test_storage_below_a_file_is_a_storage_error(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    ledger = Ledger(tmp_path / "file" / "deeper/still")
    with pytest.raises(StorageError, match=f"{ledger.storage}: storage cannot be written: Not a dir"):
        ledger.make()
    assert ledger.state("0123456789abcdef") is TrialState.PENDING
    assert ledger.driver("small") is None
    assert (tmp_path / "file").read_bytes() == b""


def test_storage_that_a_link_leads_away_from_is_a_storage_error(tmp_path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere" / "at all")
    with pytest.raises(StorageError, match="storage cannot be written"):
        Ledger(tmp_path / "runs").make()


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Root may write anywhere, so for once it is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(user)


@pytest.fixture
def read_only(tmp_path) -> Path:
    (tmp_path / "runs").mkdir(mode=0o500)
    return tmp_path / "runs"


def test_storage_without_the_right_to_write_is_a_storage_error(read_only, without_rights) -> None:
    with pytest.raises(StorageError, match="Permission denied"):
        Ledger(read_only).make()


def test_a_sweep_whose_folder_cannot_be_made_is_a_storage_error(ledger) -> None:
    (ledger.storage / "sweeps" / "small").write_bytes(b"")
    with pytest.raises(StorageError, match="storage cannot be written"), ledger.drive("small"):
        pass


def test_making_the_storage_twice_changes_nothing(ledger, trial, record, make_epochs) -> None:
    full(ledger, trial, record, make_epochs(2, 3))
    before = contents(ledger)
    ledger.make()
    assert contents(ledger) == before


# One driver at a time

HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.ledger.ledger import Ledger

with Ledger(Path(sys.argv[1])).drive("small"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_driver(ledger: Ledger) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(ledger.storage)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_second_driver_is_refused_and_told_who_drives_until_that_one_is_killed(ledger) -> None:
    assert ledger.driver("small") is None
    with another_driver(ledger) as holder:
        driver = ledger.driver("small")
        assert driver is not None
        assert (driver.pid, driver.host) == (holder.pid, socket.gethostname())
        expected = f"sweep small is already being run by process {holder.pid} on {socket.gethostname()} since "
        with pytest.raises(HeldError, match=expected) as caught, ledger.drive("small"):
            pass
        assert str(ledger.storage) in str(caught.value)
        assert caught.value.exit_code == 1
        assert ledger.driver("small") == driver  # the one refused left no trace
        with ledger.drive("other"):  # another sweep may share the storage
            pass

        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
        assert ledger.driver("small") is None
        with ledger.drive("small"):
            own = ledger.driver("small")
            assert own is not None
            assert own.pid == os.getpid()


def test_a_sweep_is_free_after_its_driver_whether_it_ended_well_or_not(ledger) -> None:
    for error in (None, KeyboardInterrupt, RuntimeError):
        try:
            with ledger.drive("small") as folder:
                assert folder == ledger.sweep_folder("small")
                assert ledger.driver("small") is not None
                if error:
                    raise error
        except (KeyboardInterrupt, RuntimeError):
            pass
        assert ledger.driver("small") is None


def test_damage_to_the_drivers_file_harms_nobody(ledger) -> None:
    folder = ledger.sweep_folder("small")
    folder.mkdir(parents=True)
    for content in (b"{", b'{"host": 3}'):
        (folder / "driver.json").write_bytes(content)
        assert ledger.driver("small") is None
        with ledger.drive("small"):
            assert ledger.driver("small") is not None
            (folder / "driver.json").write_bytes(content)
            ledger.driver("small")
            with pytest.raises(HeldError, match="already being run by another process"), ledger.drive("small"):
                pass


def test_what_a_later_version_adds_to_a_result_is_passed_over(ledger, trial, record, make_epochs) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    before = ledger.record(trial.id)
    for damage in (result_rewritten(colour="red"), rewritten("result.json", format=2)):
        damage(folder)
    assert ledger.record(trial.id) == before


def test_a_result_that_cannot_be_read_now_is_not_taken_for_none(
    ledger, trial, record, make_epochs, monkeypatch
) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    content = (folder / "result.json").read_bytes()

    def stale(*_: object) -> bytes:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as broken:
        broken.setattr(files, "read_plain", stale)
        with pytest.raises(StorageError, match="Stale file handle"):
            ledger.record(trial.id)
        with pytest.raises(StorageError, match="Stale file handle"):
            ledger.begin(trial)
    assert (folder / "result.json").read_bytes() == content


def test_a_damaged_result_is_put_aside(ledger, trial, record, make_epochs) -> None:
    folder = full(ledger, trial, record, make_epochs(2, 3))
    (folder / "result.json").write_bytes(b"{")
    ledger.begin(trial)
    assert not (folder / "result.json").exists()
    assert (folder / "result.json.damaged").read_bytes() == b"{"
