"""What no sweep needs goes; what one needs stays, whatever runs, or is killed, at whatever moment."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from halving import TUNED, Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from anytime_core.files import STALE, LocalFolder
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.errors import HeldError, StorageError, UsageError
from orchestrator.execution import cleaning, driver
from orchestrator.execution.cleaning import CleaningSettings
from orchestrator.execution.sweep_run import SweepSettings
from orchestrator.ledger import last_run, needs, notes
from orchestrator.ledger import storage as storages
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import LocalStorage
from orchestrator.report.views import cleaning as view
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.tuning import notes as notes_of

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
URI = "sqlite:////nowhere/mlflow.db"


@pytest.fixture
def sweep(load_text) -> Sweep:
    """Of ann and aann, with two seeds."""
    return load_text(SWEEP)


@pytest.fixture
def end(make_record) -> Callable[[Ledger, Sweep], None]:
    """Ends all trials of a sweep, which says what it needs."""

    def done(ledger: Ledger, sweep: Sweep) -> None:
        needs.declare(sweep, ledger)
        for trial in sweep.trials:
            if not ledger.record(trial.id):
                attempt = ledger.begin(trial, sweep.name)
                checkpoint.save(ledger.checkpoints(trial.id), 44, Checkpoint({}, {}))
                ledger.finish(attempt, make_record(trial, (3.0, 2.0, 1.0)))

    return done


def part(sweep: Sweep, method: str) -> Sweep:
    """The sweep with one of its methods."""
    trials = tuple(trial for trial in sweep.trials if trial.cell.method == method)
    return replace(sweep, trials=trials, cells={trial.cell: trial.id for trial in trials})


def settings_of(*given: Sweep, **more) -> CleaningSettings:
    return CleaningSettings(tracking_uri=URI, given=given, **more)


def names(cleaned: cleaning.Cleaning, kind: str) -> set[str]:
    return {item.name for item in cleaned.items if item.kind == kind}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What goes


def test_trials_that_a_given_file_names_no_more_are_listed_and_go_with_their_notes(ledger, sweep, end) -> None:
    end(ledger, sweep)
    now, dropped = part(sweep, "ann"), {trial.id for trial in part(sweep, "aann").trials}
    notes.add(ledger, "trials", sorted(dropped)[0], "odd")
    assert names(cleaning.plan(ledger, settings_of()), "trials") == set(), "the sweep needs what it last ran with"
    before = contents(ledger.local)
    listed = cleaning.plan(ledger, settings_of(now))
    assert names(listed, "trials") == {f"trials/{trial_id}" for trial_id in dropped}
    size = sum(len(content) for name, content in before.items() if name[7:23] in dropped)
    assert sum(item.size for item in listed.items) == size
    assert {item.about for item in listed.items} == {f"aann (1,2) digits seed {seed}" for seed in (0, 1)}
    assert contents(ledger.local) == before, "nothing is changed by a list"
    gone = cleaning.clean(ledger, settings_of(now))
    assert (gone.items, gone.troubles) == (listed.items, ())
    assert set(ledger.begun()) == {trial.id for trial in now.trials}
    assert notes.read(ledger, "trials", dropped) == {}
    assert cleaning.plan(ledger, settings_of(now)).items == ()


def test_what_another_sweep_of_the_storage_needs_stays_until_that_is_forgotten(ledger, sweep, end) -> None:
    end(ledger, sweep)
    other = replace(part(sweep, "aann"), name="other")
    end(ledger, other)
    now = settings_of(part(sweep, "ann"))
    cleaned = cleaning.plan(ledger, now)
    assert names(cleaned, "trials") == set()
    assert {need.sweep: need.trials for need in cleaned.needs} == {
        "small": needs.ids_of(part(sweep, "ann")),
        "other": needs.ids_of(other),
    }
    with pytest.raises(UsageError, match=r"no such sweep in .*; there: other, small"):
        cleaning.plan(ledger, replace(now, forget=("another",)))
    forgotten = cleaning.clean(ledger, replace(now, forget=("other",)))
    assert names(forgotten, "trials") == {f"trials/{trial.id}" for trial in other.trials}
    assert names(forgotten, "sweeps") == {"sweeps/other"}
    assert ledger.sweeps() == ["small"]


def test_a_sweep_that_runs_keeps_what_it_runs_with_whatever_its_file_says_now(ledger, sweep, end) -> None:
    end(ledger, sweep)
    with ledger.drive(sweep.name, "a driver"):
        assert cleaning.clean(ledger, settings_of(part(sweep, "ann"))).items == ()
        with pytest.raises(HeldError, match="already being run"):
            cleaning.clean(ledger, settings_of(forget=("small",)))
    assert len(ledger.begun()) == 4


def test_what_a_sweep_needs_is_known_by_what_earlier_versions_left_or_nothing_goes(ledger, sweep, end) -> None:
    end(ledger, sweep)
    needed = ledger.sweep_folder("small") / "trials.json"
    needed.write_text(json.dumps(part(sweep, "ann").ids))  # a plain list, as it was
    assert len(names(cleaning.plan(ledger, settings_of()), "trials")) == 2
    needed.unlink()
    last_run.remember(part(sweep, "aann"), ledger)
    gone = names(cleaning.plan(ledger, settings_of()), "trials")
    assert gone == {f"trials/{trial.id}" for trial in part(sweep, "ann").trials}
    needed.write_bytes(b"{")
    (ledger.sweep_folder("small") / "sweep.json").unlink()
    with pytest.raises(StorageError, match=r"which trials sweep small needs cannot be read .*: give its file"):
        cleaning.clean(ledger, settings_of())
    assert cleaning.plan(ledger, settings_of(sweep)).items == ()


def test_checkpoints_before_the_last_go_unless_the_last_is_damaged(ledger, sweep, end) -> None:
    end(ledger, sweep)
    kept, damaged = (trial.id for trial in sweep.trials[:2])
    for trial_id in (kept, damaged):
        (ledger.folder(trial_id) / "checkpoints" / "step-000000022.ckpt").write_bytes(b"an earlier network")
    (ledger.folder(damaged) / "checkpoints" / "step-000000044.ckpt").write_bytes(b"not as it was")
    listed = cleaning.clean(ledger, settings_of())
    assert names(listed, "checkpoints") == {f"trials/{name}/checkpoints" for name in (kept, damaged)}
    saved = {name: sorted(os.listdir(ledger.folder(name) / "checkpoints")) for name in (kept, damaged)}
    assert saved == {kept: ["step-000000044.ckpt"], damaged: ["step-000000022.ckpt", "step-000000044.ckpt"]}


def test_what_failed_attempts_left_goes_once_the_trial_has_ended(ledger, sweep, end) -> None:
    end(ledger, part(sweep, "ann"))
    ended, failed = part(sweep, "ann").trials[0].id, part(sweep, "aann").trials[0]
    ledger.fail(ledger.begin(failed, "small"), "no memory")
    left = ["failure.json", "result.json.damaged-01234567", ".metrics.parquet.123.0a1b2c3d", ".result.json.1.00000000"]
    for name in left:
        (ledger.folder(ended) / name).write_bytes(b"left")
    os.utime(ledger.folder(ended) / left[2], times=(time.time() - STALE - 1,) * 2)
    needs.declare(sweep, ledger)
    cleaned = cleaning.clean(ledger, settings_of())
    assert [(item.kind, item.about) for item in cleaned.items] == [("attempts", ", ".join(sorted(left[:3])))]
    assert (ledger.folder(ended) / left[3]).exists(), "somebody may be writing it"
    assert ledger.failure(failed.id) == "no memory"


def test_kinds_and_what_is_new_may_be_kept(ledger, sweep, end) -> None:
    end(ledger, sweep)
    old, _ = part(sweep, "aann").trials
    for path in ledger.folder(old.id).rglob("*"):
        os.utime(path, times=(time.time() - 8 * 86_400,) * 2)
    now = settings_of(part(sweep, "ann"))
    assert cleaning.plan(ledger, replace(now, keep=("trials",))).items == ()
    assert names(cleaning.plan(ledger, replace(now, newer=7 * 86_400)), "trials") == {f"trials/{old.id}"}


def test_what_has_no_name_of_ours_and_what_lies_behind_a_link_stays(ledger, sweep, end, tmp_path) -> None:
    end(ledger, sweep)
    trials, elsewhere = ledger.local / "trials", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_bytes(b"mine")
    (trials / "my notes").mkdir()
    (trials / "my notes" / "mine").write_bytes(b"mine")
    (trials / ("0" * 16)).symlink_to(elsewhere)
    (ledger.folder(part(sweep, "aann").trials[0].id) / "data").symlink_to(elsewhere)
    cleaned = cleaning.clean(ledger, settings_of(part(sweep, "ann")))
    assert len(names(cleaned, "trials")) == 2
    assert (elsewhere / "mine").exists()
    assert (trials / "my notes" / "mine").exists()
    assert len(ledger.begun()) == 4  # two trials, the folder and the link


@pytest.mark.parametrize("stuck", ["trials/", "notes/trials/"])
def test_what_cannot_be_removed_is_said_and_goes_with_the_next_command(ledger, sweep, end, monkeypatch, stuck) -> None:
    end(ledger, sweep)
    now, dropped = settings_of(part(sweep, "ann")), [trial.id for trial in part(sweep, "aann").trials]
    for trial_id in dropped:
        notes.add(ledger, "trials", trial_id, "odd")

    def clear(folder: LocalStorage, name: str, clear=LocalStorage.clear) -> None:
        if name.startswith(stuck):
            raise PermissionError(13, "Permission denied", name)
        clear(folder, name)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "clear", clear)
        first = cleaning.clean(ledger, now)
    assert (first.items, first.left, len(first.troubles)) == ((), 2, 2)
    title = view.table(first.items, first.needs, "runs", deleted=True, left=first.left).title
    assert title == "runs: 0 B was removed, 0 items; 2 items could not"
    assert names(cleaning.plan(ledger, now), "trials") == {f"trials/{trial_id}" for trial_id in dropped}
    second = cleaning.clean(ledger, now)
    assert (len(second.items), second.left, second.troubles) == (2, 0, ())
    assert not any(trial_id in path for trial_id in dropped for path in contents(ledger.local))
    assert cleaning.plan(ledger, now).items == ()


# Points that halving stopped


@pytest.fixture
def make_run(load_text, make_epochs, make_record, tmp_path_factory) -> Callable[[int], Run]:
    tuned = load_text(TUNED)

    def made(seed: int) -> Run:
        run = Run(tuned, Ledger(tmp_path_factory.mktemp("run") / "runs"), make_epochs, make_record, seed)
        run.begin()
        return run

    return made


def saved(run: Run) -> set[str]:
    """The trials with a checkpoint."""
    return {trial_id for trial_id in run.ledger.begun() if run.ledger.step(trial_id)}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.one_of(st.integers(0, 100), st.sampled_from(["gc", "gc FILE"])), min_size=8, max_size=30),
    seed=st.integers(0, 5),
)
def test_no_order_of_training_and_cleaning_up_takes_a_point_that_may_go_on(make_run, order, seed) -> None:
    alone, run = make_run(seed), make_run(seed)
    alone.finish()
    for turn in order:
        if isinstance(turn, int):
            run.go_on(turn)
            continue
        stopped = {trial.id for trial in run.now.trials if trial.pause and trial.pause.lost}
        before = saved(run)
        cleaned = cleaning.clean(run.ledger, settings_of(*([run.sweep] if turn == "gc FILE" else [])))
        assert {item.kind for item in cleaned.items} <= {"stopped", "attempts"}
        assert saved(run) == before - stopped
    assert notes_of(run.finish().tuning) == notes_of(alone.now.tuning)
    assert run.steps == alone.steps, "nothing is trained twice"


def test_a_point_that_another_sweep_trains_on_stays_and_one_of_a_sweep_that_runs(make_run) -> None:
    run = make_run(0)
    lost = [trial for trial in run.finish().trials if trial.pause and trial.pause.lost]
    listed = {f"trials/{trial.id}/checkpoints" for trial in lost}
    assert names(cleaning.plan(run.ledger, settings_of()), "stopped") == listed
    with run.ledger.drive("tuned", "a driver"):
        assert names(cleaning.plan(run.ledger, settings_of()), "stopped") == set()
    other = replace(run.sweep, name="other", trials=(replace(lost[0], pause=None),), tuning=())
    other = replace(other, cells={lost[0].cell: lost[0].id})
    needs.declare(other, run.ledger)
    last_run.remember(other, run.ledger)
    fewer = listed - {f"trials/{lost[0].id}/checkpoints"}
    assert names(cleaning.plan(run.ledger, settings_of()), "stopped") == fewer
    assert names(cleaning.plan(run.ledger, settings_of(run.sweep, other)), "stopped") == fewer
    (run.ledger.sweep_folder("tuned") / "sweep.json").write_bytes(b"{")
    assert names(cleaning.plan(run.ledger, settings_of()), "stopped") == set(), "nobody knows which were stopped"


# Killed


@pytest.mark.parametrize("before", range(8))
def test_a_kill_leaves_no_trial_that_looks_ended_and_the_next_command_does_the_rest(
    ledger, sweep, end, monkeypatch, before
) -> None:
    """Before so many files of the first trial to go are removed."""
    end(ledger, sweep)
    now, dropped = part(sweep, "ann"), [trial.id for trial in part(sweep, "aann").trials]
    removed = 0

    def file_by_file(folder: LocalFolder, name: str) -> None:
        for path in sorted(folder.walk(name)):
            LocalFolder.delete(folder, path)

    def delete(folder: LocalFolder, name: str, delete=LocalFolder.delete) -> None:
        nonlocal removed
        if removed == before:
            raise KeyboardInterrupt
        removed += 1
        delete(folder, name)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "clear", file_by_file)
        patched.setattr(LocalFolder, "delete", delete)
        with pytest.raises(KeyboardInterrupt):
            cleaning.clean(ledger, settings_of(now))
    states = {str(ledger.state(trial_id)) for trial_id in dropped}
    assert states <= ({"finished"} if before == 0 else {"finished", "interrupted", "pending"})
    assert before == 0 or states != {"finished"}
    cleaning.clean(ledger, settings_of(now))
    assert set(ledger.begun()) == {trial.id for trial in now.trials}


# Beside sweeps that begin


def test_a_sweep_says_what_it_needs_and_waits_until_nobody_cleans_up(ledger, sweep, monkeypatch) -> None:
    said, looked = StringIO(), threading.Event()

    class LookedError(Exception):
        pass

    def look(*anything: object) -> None:
        looked.set()
        raise LookedError

    monkeypatch.setattr(driver, "chosen", look)

    def run() -> None:
        with pytest.raises(LookedError):
            driver.run(sweep, SweepSettings(storage=ledger.storage, data_root=ledger.local, tracking_uri=URI), console)

    console, thread = Console(file=said, width=500), threading.Thread(target=run)
    with needs.held_still(ledger):
        thread.start()
        while "waiting until process" not in said.getvalue():
            time.sleep(0.01)
        assert ledger.read_trials("small") == sorted(sweep.ids)
        assert ledger.driver("small") is not None
        assert not looked.is_set()
        with pytest.raises(HeldError, match="is already being cleaned up by process"), needs.held_still(ledger):
            pass
    thread.join()
    assert looked.is_set()


@pytest.mark.parametrize("left", [-1.0, 0.2])
def test_a_sweep_waits_for_a_cleaning_up_to_its_limit_and_no_longer(ledger, left: float) -> None:
    said: list[str] = []
    with (
        needs.held_still(ledger),
        pytest.raises(HeldError, match=r"limit has passed while process .*nothing has begun"),
    ):
        needs.wait(ledger, said.append, time.time() + left)
    assert len(said) == (left > 0)
    needs.wait(ledger, said.append, time.time() - 1)  # nobody cleans up any more


class Turns:
    """Has two threads do one thing after another, in a given order, and as they like after that."""

    def __init__(self, order: list[bool]) -> None:
        self._order, self._over, self._change = order, set(), threading.Condition()

    def take(self) -> None:
        mine = threading.current_thread().name == "sweep"
        with self._change:
            while self._order and self._order[0] != mine and self._order[0] not in self._over:
                self._change.wait()
            if self._order:
                self._order.pop(0)
            self._change.notify_all()

    def end(self) -> None:
        with self._change:
            self._over.add(threading.current_thread().name == "sweep")
            self._change.notify_all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.booleans(), max_size=60), given_file=st.booleans())
def test_no_order_of_a_sweeps_and_a_cleaners_steps_takes_what_the_sweep_has_seen(
    tmp_path_factory, sweep, end, order, given_file
) -> None:
    """The sweep last ran with one method, and begins with another, whose trials are there, and needed by nobody yet."""
    ledger = Ledger(tmp_path_factory.mktemp("order") / "runs")
    ledger.make()
    end(ledger, sweep)
    needs.declare(part(sweep, "ann"), ledger)
    wanted, turns, cleaned = part(sweep, "aann"), Turns(order), threading.Event()
    seen: set[str] = set()

    def drive() -> None:
        with ledger.drive("small", "a driver"):
            needs.declare(wanted, ledger)
            needs.wait(ledger, str)
            seen.update(ledger.records(wanted.ids))
            turns.end()
            cleaned.wait()

    def clean() -> None:
        cleaning.clean(ledger, settings_of(*([part(sweep, "ann")] if given_file else [])))
        cleaned.set()
        turns.end()

    def in_turn(function: Callable) -> Callable:
        def step(*arguments, **options):
            if threading.current_thread() is not threading.main_thread():
                turns.take()
            return function(*arguments, **options)

        return step

    with pytest.MonkeyPatch.context() as patched:
        for kind, steps in ((LocalFolder, ("read", "write", "delete", "names")), (LocalStorage, ("walk", "clear"))):
            for name in steps:
                patched.setattr(kind, name, in_turn(getattr(kind, name)))
        patched.setattr(storages.LocalStorage, "open", in_turn(LocalFolder.open), raising=False)
        patched.setattr(needs, "WAIT_SECONDS", 0.001)
        threads = [threading.Thread(target=drive, name="sweep"), threading.Thread(target=clean, name="cleaner")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen <= set(ledger.records(wanted.ids)), "what the sweep has seen is there"
    there = set(ledger.records(wanted.ids))
    assert there in (set(), set(wanted.ids)), "all go, or none"
