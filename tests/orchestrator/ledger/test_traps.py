"""Somebody who can write to the storage can spoil what is there, and harm nobody who uses it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traps import SECRET, TRAPS, Trap, secret_in

from anytime_core.config import to_dict
from anytime_core.errors import CheckpointError
from anytime_core.files import UnfitFileError
from anytime_core.model.network import build_network
from anytime_core.trained import load_network, network_hash
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.errors import StorageError, UsageError
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed, last_run, live_status, needs
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import publish
from orchestrator.report.losses import Losses
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialState, config_of
from orchestrator.tracking import delivered

SWEEP = "name: small\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\ntraining: {steps: 44}\n"
URI = "http://127.0.0.1:1"
OF_A_TRIAL = ("config.json", "attempt.json", "failure.json", "result.json", "metrics.parquet")
OF_A_SWEEP = ("driver.json", "progress.json", "sweep.json", "tracked.json", "trials.json")
NEWEST = "checkpoints/step-000000044.ckpt"


@pytest.fixture
def secret(tmp_path) -> Path:
    return secret_in(tmp_path / "home")


@pytest.fixture
def sweep(load_text) -> Sweep:
    return load_text(SWEEP)


@pytest.fixture
def trial(sweep) -> Trial:
    (only,) = sweep.trials
    return only


@pytest.fixture
def filled(ledger, sweep, trial, make_record, make_epochs) -> Ledger:
    """All files that there can be. The trial has ended."""
    attempt, units = ledger.begin(trial), trial.config.predicting_units
    record = make_record(trial, (3.0, 2.0, 1.0))
    ledger.write_epochs(attempt, units, record.result.costs, make_epochs(2, len(units)))
    checkpoint.save(ledger.checkpoints(trial.id), 44, made(trial, make_epochs(2, len(units))))
    ledger.fail(attempt, "no memory", kind="bug")
    ledger.finish(attempt, record)
    with ledger.drive("small"):
        pass
    delivered.remember(ledger, "small", URI, delivered.Delivered(trials={trial.id: "x"}, runs={trial.id: "y"}))
    needs.declare(sweep, ledger)
    last_run.remember(sweep, ledger)
    ledger.write_status("small", asdict(live_status.StatusSnapshot(time=1.7e9, seconds_left=1.0)))
    return ledger  # type: ignore[no-any-return]


def made(trial: Trial, epochs: list[Any], **changes: Any) -> Checkpoint:
    arrays = {f"network/{name}": value.numpy() for name, value in build_network(trial.config).state_dict().items()}
    arrays |= {f"normalisation/{name}": np.ones((1, 1, 1, 1), np.float32) for name in ("mean", "std")}
    meta = {"config": to_dict(trial.config), "history": [asdict(replace(it, step=44)) for it in epochs[-1:]]}
    return Checkpoint(arrays, {**meta, **changes})


def read_all(ledger: Ledger, sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """By every reader there is."""
    return {
        "record": ledger.record(trial.id),
        "standing": ledger.standing(trial.id),
        "failure": ledger.last_failure(trial.id),
        "epochs": ledger.epochs(trial.id),
        "files": ledger.files(trial.id),
        "checkpoint": checkpoint.latest(ledger.checkpoints(trial.id)) is not None,
        "driver": ledger.driver("small"),
        "sweep": last_run.recalled("small", sweep.path, ledger) is not None,
        "snapshot": live_status.last_snapshot(ledger, "small"),
        "told": delivered.read(ledger, "small", URI),
        "links": delivered.run_links(ledger, "small"),
        "trials": delivered.last_trials(ledger, "small"),
    }


# Reading


@pytest.mark.parametrize("name", [*OF_A_TRIAL, NEWEST, *OF_A_SWEEP])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_in_the_place_of_a_file_is_named_and_passed_over(
    name, trap: Trap, filled, sweep, trial, secret, caplog
) -> None:
    folder = filled.sweep_folder("small") if name in OF_A_SWEEP else filled.folder(trial.id)
    if name == "failure.json":  # it counts until the trial has ended
        (folder / "result.json").unlink()
    (folder / name).unlink()
    trap(folder / name, secret)
    began = time.monotonic()
    read_all(filled, sweep, trial)
    assert time.monotonic() - began < 2
    if name != "driver.json":  # which nobody holds
        assert f"{folder / name} is damaged" in caplog.text or f"{folder / name} is" in caplog.text
    assert secret.read_bytes() == SECRET


@pytest.mark.parametrize("below", ["trials/ID", "trials/ID/checkpoints", "sweeps/small"])
def test_nothing_behind_a_link_is_read(below, filled, sweep, trial, tmp_path, caplog) -> None:
    folder = filled.local / below.replace("ID", trial.id)
    os.rename(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    found = read_all(filled, sweep, trial)
    assert "is a symbolic link, which is not followed" in caplog.text
    if below == "sweeps/small":
        assert (found["snapshot"], found["links"], found["trials"]) == (None, {}, [])
    elif below == "trials/ID":
        assert (found["record"], found["epochs"], found["standing"].state) == (None, [], TrialState.PENDING)
    else:
        assert not found["checkpoint"]
        with pytest.raises(CheckpointError):
            network_hash(filled.checkpoints(trial.id))


def test_storage_behind_a_link_is_as_good_as_any(filled, sweep, trial, tmp_path, caplog) -> None:
    (tmp_path / "shortcut").symlink_to(filled.local)
    with caplog.at_level(logging.WARNING):
        found = read_all(Ledger(tmp_path / "shortcut"), sweep, trial)
    assert found | {"files": None} == read_all(filled, sweep, trial) | {"files": None}
    assert caplog.text == ""


HUGE = 10**9


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("result.json", lambda it: it["config"].update(network=[HUGE])),
        ("result.json", lambda it: it["config"].update(seed="1")),
        ("result.json", lambda it: it["config"].pop("data")),
        ("result.json", lambda it: it.update(trial_id=["a"])),
        ("result.json", lambda it: it["result"].update(units=[3, 2, 1])),
        ("result.json", lambda it: it["result"].update(costs=[0, 0, 0])),
        ("result.json", lambda it: it["result"].update(errors=[10**400, 1, 2])),
        ("result.json", lambda it: it["result"].update(seconds=-1)),
        ("result.json", lambda it: it["result"].update(device=["gpu"])),
        ("result.json", lambda it: it.update(provenance=[])),
        ("attempt.json", lambda it: it.update(number="1")),
        ("attempt.json", lambda it: it.update(number=2**80)),
        ("attempt.json", lambda it: it.update(driver=None)),
    ],
)
def test_what_no_trial_gives_is_damaged_whatever_its_checksum_says(
    name, change: Callable[[Any], None], filled, trial, caplog
) -> None:
    path = filled.folder(trial.id) / name
    content = checksummed.unpack(path.read_bytes())
    change(content)
    path.write_bytes(checksummed.pack(content))
    assert (filled.record(trial.id) if name == "result.json" else filled.attempt(trial.id)) is None
    assert f"{name} is damaged" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"running": [{"trial_id": "a"}]},
        {"running": 1},
        {"time": "now"},
        {"seconds_left": [1.0]},
        {"errors": [1]},
        {"errors": "none"},
        {"running": [{"trial_id": "a", "step": 1, "error": "x"}]},
    ],
)
def test_a_drivers_word_of_another_type_is_not_shown(change, filled, caplog) -> None:
    filled.write_status("small", {"time": 1.0, "seconds_left": None, "running": [], "errors": []} | change)
    assert live_status.last_snapshot(filled, "small") is None
    assert "is damaged" in caplog.text


def test_metrics_of_another_trial_are_no_trials(filled, trial, make_epochs, caplog) -> None:
    """Whoever draws its curves counts on as many predictions as it has."""
    from orchestrator.ledger import epochs_file

    whole = epochs_file.pack(trial.id, (1,), (1,), make_epochs(2, 1))
    (filled.folder(trial.id) / "metrics.parquet").write_bytes(whole)
    assert {len(epoch.test_error) for epoch in filled.epochs(trial.id)} == {3}  # those of the checkpoint
    assert "1 predictions" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"history": [{}]},
        {"history": 7},
        {"config": {"network": {"n": HUGE, "c": 1}}},
        {"trained_on": 3},
        {"trained_on": [[]]},
    ],
)
def test_a_checkpoint_of_no_trial_is_one_message(change, filled, trial, make_epochs, tmp_path) -> None:
    place = filled.checkpoints(trial.id)
    if "config" in change:
        change = {"config": to_dict(trial.config) | change["config"]}
    checkpoint.save(place, 44, made(trial, make_epochs(1, 3), **change))
    began = time.monotonic()
    if "trained_on" not in change:
        with pytest.raises(CheckpointError, match="holds a checkpoint of no trial"):
            load_network(place)
    (filled.folder(trial.id) / "result.json").unlink()
    context = WorkerContext(storage=filled.storage, data_root=tmp_path / "data")
    assert run_trial(trial, context, lambda epochs: None).state is TrialState.FAILED
    assert time.monotonic() - began < 5


def test_a_network_too_large_to_be_one_is_not_tried(filled, trial, make_record) -> None:
    record = make_record(trial, (3.0, 2.0, 1.0))
    config = {**record.config, "network": {**record.config["network"], "n": HUGE}}
    with pytest.raises(UsageError, match="is none that can be"):
        config_of(replace(record, config=config))


# Writing


def test_a_driver_overwrites_no_file_of_its_user(ledger, secret) -> None:
    path = ledger.sweep_folder("small") / "driver.json"
    path.parent.mkdir()
    path.symlink_to(secret)
    with pytest.raises(StorageError, match=f"{path} is a symbolic link"), ledger.drive("small"):
        pass
    path.unlink()
    path.hardlink_to(secret)
    with ledger.drive("small"):
        assert ledger.driver("small") is not None
        with pytest.raises(StorageError, match="already being run"), ledger.drive("small"):
            pass
    assert secret.read_bytes() == SECRET


@pytest.mark.parametrize("name", ["trials", "trials/ID", "sweeps", "sweeps/small"])
def test_nothing_is_written_behind_a_link(name, ledger, sweep, trial, secret) -> None:
    path = ledger.local / name.replace("ID", trial.id)
    if path.exists():
        path.rmdir()
    path.symlink_to(secret.parent)
    if name.startswith("trials"):
        with pytest.raises(UnfitFileError, match="is a symbolic link"):
            ledger.begin(trial)
    else:
        with pytest.raises(StorageError, match="is a symbolic link"), ledger.drive("small"):
            pass
    assert list(secret.parent.iterdir()) == [secret]
    assert secret.read_bytes() == SECRET


def test_a_worker_says_which_link_it_does_not_follow(ledger, trial, secret, tmp_path) -> None:
    path = ledger.folder(trial.id) / "checkpoints"
    path.parent.mkdir()
    path.symlink_to(secret.parent)
    context = WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")
    outcome = run_trial(trial, context, lambda epochs: None)
    assert outcome.state is TrialState.FAILED
    assert outcome.error == f"{path}: is a symbolic link, which is not followed"
    assert list(secret.parent.iterdir()) == [secret]


def test_a_trials_lock_is_no_file_of_its_users(ledger, trial, secret) -> None:
    path = ledger.folder(trial.id) / "lock"
    path.parent.mkdir()
    path.symlink_to(secret.parent / "new")
    with pytest.raises(UnfitFileError, match="lock"):
        ledger.begin(trial)
    assert list(secret.parent.iterdir()) == [secret]


@pytest.mark.parametrize("name", ["report.html", "report.json", "figures/cost.svg"])
def test_a_report_replaces_a_link_and_follows_none(name, filled, sweep, secret) -> None:
    folder = filled.sweep_files("small").below("report")
    path = folder.path / name
    path.parent.mkdir(parents=True)
    path.symlink_to(secret)
    publish.write(sweep, filled, folder, {}, losses=Losses())
    assert secret.read_bytes() == SECRET
    assert not path.is_symlink()


def test_figures_are_neither_written_nor_deleted_behind_a_link(filled, sweep, secret) -> None:
    folder, losses = filled.sweep_files("small").below("report"), Losses()
    (secret.parent / "cost.svg").write_bytes(SECRET)
    folder.path.mkdir()
    (folder.path / "figures").symlink_to(secret.parent)
    publish.write(sweep, filled, folder, {}, losses=losses)
    assert any(f"{folder.path}/figures" in line for line in losses.lines)
    assert {path.name: path.read_bytes() for path in secret.parent.iterdir()} == {"secret": SECRET, "cost.svg": SECRET}


def test_an_index_behind_a_link_is_replaced(filled, trial, secret, monkeypatch) -> None:
    monkeypatch.setattr("orchestrator.ledger.trials.FEW", 0)
    monkeypatch.setattr("orchestrator.ledger.trials.SETTLED", -(10**10))
    (filled.local / "index.bin").symlink_to(secret)
    assert list(filled.records([trial.id])) == [trial.id]
    assert secret.read_bytes() == SECRET
    assert not (filled.local / "index.bin").is_symlink()


def test_a_damaged_result_is_put_aside_whatever_lies_there(filled, trial) -> None:
    path = filled.folder(trial.id) / "result.json"
    path.with_name("result.json.damaged").mkdir()
    path.write_text(json.dumps({}))
    filled.begin(trial)
    assert not path.exists()
    assert len(list(path.parent.glob("result.json.damaged-*"))) == 1
