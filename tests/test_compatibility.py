"""What version 0.1.0 left behind, before the packages had rooms, is still read: ids, results, networks, MLflow's runs.

``storage_0_1/runs.tar.xz`` is the storage of ``before.yaml`` as commit 91db3be left it after `orchestrate sweep`, less
the figures and two of three networks. MLflow's database lies in it as SQL, with @STORAGE@ in place of its folder.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import anytime_core
from orchestrator.cli import cli
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.sweepfile.load import load

HERE = Path(__file__).with_name("storage_0_1")
SWEEP = HERE / "before.yaml"
AANN = "729537e6921b1b45"
IDS = {"ann": "69f92785d5ad5784", "aann": AANN, "opt": "6dc5cdfb88e35ded"}
ERRORS = {"ann": 56.54596100278552, "aann": 46.51810584958218, "opt": 34.540389972144844}
RUN = "08e1048447a6414db45012fce11e13d6"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    with tarfile.open(HERE / "runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    runs = tmp_path / "runs"
    told = runs / "sweeps" / "before" / "tracked.json"
    told.write_text(told.read_text().replace("@STORAGE@", str(runs)))
    script = runs / "mlflow" / "mlflow.sql"
    with sqlite3.connect(script.with_suffix(".db")) as database:
        database.executescript(script.read_text().replace("@STORAGE@", str(runs)))
    database.close()
    script.unlink()
    return runs


def test_trials_keep_their_ids_and_none_is_left_to_run(storage: Path) -> None:
    assert {trial.cell.method: trial.id for trial in load(SWEEP).trials} == IDS
    command = ["plan", str(SWEEP), "--storage", str(storage), "--format", "json"]
    rows = json.loads(CliRunner().invoke(cli, command, catch_exceptions=False).output)
    assert {row["id"] for row in rows} == set(IDS.values())
    assert {row["action"] for row in rows} == {"keep"}


def test_trials_are_brought_into_a_storage_of_today(storage: Path, tmp_path: Path) -> None:
    command = ["import", str(storage), "--storage", str(tmp_path / "today"), "--format", "json"]
    rows = json.loads(CliRunner().invoke(cli, command, catch_exceptions=False).output)
    assert {row["trial_id"]: row["fate"] for row in rows} == dict.fromkeys(IDS.values(), "copied")
    before, today = (read_tables(load(SWEEP), Ledger(place)) for place in (storage, tmp_path / "today"))
    assert render.report_json(today) == render.report_json(before)


def test_results_are_read_to_the_last_bit(storage: Path) -> None:
    tables = read_tables(load(SWEEP), Ledger(storage))
    assert {row.method: row.errors["1"] for row in tables.errors} == ERRORS
    epochs = Ledger(storage).epochs(AANN)
    assert [epoch.step for epoch in epochs] == [22, 44]
    assert epochs[-1].test_error[-1] == ERRORS["aann"]


def test_a_network_gives_the_errors_that_were_written_down(storage: Path) -> None:
    network, digits = anytime_core.load_network(storage / "trials" / AANN), anytime_core.load_images("digits", None)
    logits = network(torch.tensor(digits.test_images))[-1]
    wrong = (logits.argmax(1) != torch.tensor(digits.test_labels)).float().mean()
    assert float(wrong) * 100 == pytest.approx(ERRORS["aann"])


@pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend
def test_a_model_that_mlflow_logged_under_the_loaders_old_name_is_loaded(storage: Path) -> None:
    from mlflow import pyfunc

    folder = storage / "mlflow" / "artifacts" / "before" / RUN / "artifacts" / "model"
    assert "loader_module: orchestrator.pyfunc\n" in (folder / "MLmodel").read_text()
    model, digits = pyfunc.load_model(str(folder)), anytime_core.load_images("digits", None)
    probabilities = model.predict(np.array(digits.test_images), params={"budget": 1.0})
    wrong = np.mean(probabilities.argmax(1) != digits.test_labels)
    assert wrong * 100 == pytest.approx(ERRORS["aann"])


@pytest.mark.slow
def test_the_same_command_trains_nothing_and_keeps_mlflows_runs(storage: Path) -> None:
    own = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [Path(sys.executable).with_name("orchestrate"), "sweep", SWEEP, "--storage", storage]
    done = subprocess.run(command, cwd=storage.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 trials: 3 finished" in done.stderr
    with sqlite3.connect(storage / "mlflow" / "mlflow.db") as database:
        query = "select t.value, r.run_uuid from tags t join runs r using (run_uuid) where t.key = 'trial_id'"
        runs = database.execute(f"{query} and r.lifecycle_stage = 'active'").fetchall()
    database.close()
    assert len(runs) == 3
    assert (AANN, RUN) in runs


def test_old_places_of_names_still_work_and_say_where_the_names_are_now() -> None:
    import anytime_core.trainer

    for name in ("train", "load_network"):
        with pytest.warns(DeprecationWarning, match=rf"anytime_core\.trainer\.{name} is anytime_core\.{name} now"):
            assert getattr(anytime_core.trainer, name) is getattr(anytime_core, name)
    with pytest.raises(AttributeError, match="has no attribute nothing"):
        _ = anytime_core.trainer.nothing


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import anytime_core; dir(anytime_core)", {"torch", "numpy"}),
        ("from anytime_core import load_images", {"torch"}),
        ("from anytime_core import AnytimePredictor, load_network", {"anytime_core.training.trainer"}),
    ],
)
def test_the_front_door_imports_no_more_than_a_name_needs(program: str, absent: set[str]) -> None:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not absent & set(loaded)


@pytest.mark.parametrize("name", anytime_core.__all__)
def test_the_front_door_holds_what_it_names(name: str) -> None:
    assert callable(getattr(anytime_core, name))
    assert name in dir(anytime_core)
