"""What MLflow holds of a sweep, in real SQLite stores and without Ray."""

from __future__ import annotations

import getpass
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import pyfunc
from told import CODE, TEXT, Told, history, made_in

from anytime_core.config import NetworkConfig, Opt
from anytime_core.cost import trial_costs
from anytime_core.data.cache import load as load_images
from anytime_core.model.network import build_network
from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from anytime_core.training.epochs import is_evaluated
from orchestrator.cli import cli
from orchestrator.errors import UsageError
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState
from orchestrator.sweepfile.load import load
from orchestrator.tracking import database as sqlite_file
from orchestrator.tracking import run_files, views
from orchestrator.tracking import store as mlflow_store
from orchestrator.tracking import tracker as tracking
from orchestrator.tracking.delivered import is_current
from orchestrator.tracking.uris import default_uri, safe_uri

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Told:
    """Two trials that were trained. To be read, not changed."""
    made = made_in(tmp_path_factory.mktemp("trained"), empty)
    where = WorkerContext(storage=made.ledger.local, data_root=made.ledger.local / "data", code_version=CODE)
    for trial in made.sweep.trials:
        assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    made.tell()
    return made


def test_a_trial_is_one_run_with_a_name_that_fits_the_list(told: Told) -> None:
    runs = told.runs()
    assert {run.info.run_name for run in runs.values()} == {"ann (1,2) digits s0", "opt (1,2) digits u3 s0"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    run = next(run for run in runs.values() if run.data.tags["method"] == "ann")
    assert run.data.params["network.n"] == "1"
    tags = {name: run.data.tags[name] for name in ("network", "dataset", "state", "mlflow.source.git.commit")}
    assert tags == {"network": "(1,2)", "dataset": "digits", "state": "finished", "mlflow.source.git.commit": CODE}
    assert run.data.tags["mlflow.source.name"].endswith("small.yaml")
    assert run.data.tags["mlflow.source.type"] == "LOCAL"
    assert run.data.tags["mlflow.user"]
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "17bfb66bf7a7b297")


def test_a_run_lasts_as_long_as_its_training(told: Told, make_epochs: Callable) -> None:
    first, *_, last = make_epochs(2, 1)
    for run in told.runs().values():
        assert run.info.start_time == int(1000 * (first.timestamp - first.seconds))
        assert run.info.end_time == int(1000 * last.timestamp)


def test_telling_all_again_changes_nothing(told: Told) -> None:
    before, runs = history(told), told.runs().keys()
    artifacts = {path: path.stat().st_mtime_ns for path in told.artifacts(next(iter(runs))).rglob("*")}
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    told.tell()
    assert history(told) == before
    assert told.runs().keys() == runs
    assert {path: path.stat().st_mtime_ns for path in artifacts} == artifacts


def test_every_epoch_has_errors_at_fractions_of_the_cost(told: Told) -> None:
    steps = {(name, step) for _, name, step, _ in history(told) if name in ("error/at_1.00", "loss/test_last")}
    assert steps == {(name, step) for name in ("error/at_1.00", "loss/test_last") for step in (1, 2)}


def test_all_predictions_are_shown_for_twenty_epochs_and_the_last(make_trial: Callable, make_epochs: Callable) -> None:
    trial = make_trial()
    config = replace(trial.config, training=replace(trial.config.training, steps=22 * 205))
    shown = [views.epoch_metrics(config, epoch) for epoch in make_epochs(205, 3)]
    detailed = [number for number, found in enumerate(shown, 1) if "test_error/prediction_03" in found]
    assert detailed == [*range(11, 205, 11), 205]
    last = {name: value for name, value in shown[-1].items() if name.startswith("test_error/")}
    assert last == {f"test_error/prediction_0{number}": 235 + (number - 1) / 8 for number in (1, 2, 3)}


def test_fewer_evaluations_are_all_shown_and_epochs_without_one_have_no_test_errors(
    make_trial: Callable, make_epochs: Callable
) -> None:
    trial = make_trial()
    config = replace(trial.config, training=replace(trial.config.training, steps=22 * 205, evaluations=20))
    epochs = [
        epoch if is_evaluated(epoch.epoch, 205, 20) else replace(epoch, test_loss=(), test_error=())
        for epoch in make_epochs(205, 3)
    ]
    shown = [views.epoch_metrics(config, epoch) for epoch in epochs]
    assert sum("test_error/prediction_03" in found for found in shown) == 20
    assert sum("error/at_1.00" in found for found in shown) == 20
    assert all("train_error/at_1.00" in found for found in shown)


def test_a_trial_that_diverged_before_its_first_evaluation_has_metrics_and_no_curves(
    make_trial: Callable, make_epochs: Callable, ledger: Ledger, tmp_path: Path
) -> None:
    trial, (epoch,) = make_trial(), make_epochs(1, 3, train_loss=(math.nan,) * 3)
    attempt = ledger.begin(trial)
    costs = trial_costs(trial.config)
    ledger.write_epochs(attempt, (1, 2, 3), costs, [replace(epoch, test_loss=(), test_error=())])
    run_files.write(trial, TrialState.DIVERGED, ledger, tmp_path, largest=0)
    assert {path.name for path in tmp_path.iterdir()} >= {"metrics.parquet"}
    assert not (tmp_path / "curves.svg").exists()


def test_whatever_the_number_of_predictions_an_epoch_is_one_request(
    make_trial: Callable, make_epochs: Callable
) -> None:
    (epoch,) = make_epochs(1, 2000)
    trial = make_trial()
    config = replace(trial.config, network=replace(trial.config.network, n=667))
    units = len(config.predicting_units)
    shown = {
        name: getattr(epoch, name)[:1] * units for name in ("train_loss", "train_error", "test_loss", "test_error")
    }
    assert len(views.epoch_metrics(config, replace(epoch, **shown))) < mlflow_store.ENTITIES_PER_REQUEST


def test_neither_passwords_nor_tokens_are_shown() -> None:
    shown = {
        "http://127.0.0.1:5000": "http://127.0.0.1:5000",
        "https://me:secret@mlflow.example/a": "https://me:***@mlflow.example/a",
        "https://token@mlflow.example": "https://***@mlflow.example",
        "postgresql://me@db/mlflow?password=secret&x=1": "postgresql://me@db/mlflow?password=***&x=1",
        "postgresql://me:se@cret@db/mlflow": "postgresql://me:***@db/mlflow",
    }
    assert {given: safe_uri(given) for given in shown} == shown


def test_images_per_second_count_those_of_a_partial_epoch(make_trial: Callable, make_epochs: Callable) -> None:
    config = replace(make_trial().config, training=replace(make_trial().config.training, steps=30))
    whole, part = make_epochs(2, 3)
    assert views.epoch_metrics(config, whole)["system/images_per_second"] == 22 * 64 / 0.25
    assert views.epoch_metrics(config, replace(part, step=30))["system/images_per_second"] == 8 * 64 / 0.5


def test_what_is_known_of_the_machine_is_a_system_metric(make_trial: Callable, make_epochs: Callable) -> None:
    (epoch,) = make_epochs(1, 3, cpu_percent=190.0, memory=5e8, gpu_memory=2e9, cpu_joules=12.5)
    found = views.epoch_metrics(make_trial().config, epoch)
    assert {name: value for name, value in found.items() if name.startswith("system/")} == {
        "system/images_per_second": 22 * 64 / 0.25,
        "system/cpu_percent": 190,
        "system/cpu_joules": 12.5,
        "system/memory_megabytes": 500,
        "system/gpu_memory_megabytes": 2000,
    }


def test_the_methods_of_one_network_and_seed_are_side_by_side_and_optima_last(
    load_text: Callable[[str], Sweep],
) -> None:
    text = TEXT.replace("[{n: 1, c: 2}]", "[{n: 10, c: 2}, {n: 9, c: 16}]").replace(
        "opt:", "aann: {strategy: aann}\n  opt:"
    )
    trials = load_text(text + "seeds: [0, 1]\n").trials
    names = [views.run_name(t) for t in sorted(trials, key=lambda t: views.place_tags(t)["place"])]
    assert names[:5] == [
        *("aann (9,16) digits s0", "ann (9,16) digits s0", "aann (9,16) digits s1", "ann (9,16) digits s1"),
        "aann (10,2) digits s0",
    ]
    assert all(name.startswith("opt ") for name in names[8:])


def test_the_curves_and_all_metrics_are_artifacts(trained: Told) -> None:
    for trial in trained.sweep.trials:
        folder = trained.artifacts(trial.id)
        assert ElementTree.parse(folder / "curves.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
        pd.testing.assert_frame_equal(
            pd.read_parquet(folder / "metrics.parquet"),
            pd.read_parquet(trained.ledger.folder(trial.id) / "metrics.parquet"),
        )


def test_what_a_trial_printed_is_an_artifact_without_secrets(
    tmp_path: Path, empty: Path, make_record: Callable, make_epochs: Callable
) -> None:
    made = made_in(tmp_path, empty)
    speaks, silent = made.sweep.trials
    made.ledger.write_log(made.ledger.begin(speaks), b"password=hunter22\n")
    made.train(make_record, lambda count: make_epochs(2, count))
    made.tell()
    assert (made.artifacts(speaks.id) / "log.txt").read_text() == "password=***\n"
    assert (made.artifacts(silent.id) / "metrics.parquet").exists()
    assert not (made.artifacts(silent.id) / "log.txt").exists()


def test_what_a_trial_said_that_failed_is_an_artifact_and_makes_room_for_all_once_it_has_ended(
    tmp_path: Path, empty: Path, make_record: Callable, make_epochs: Callable
) -> None:
    made = made_in(tmp_path, empty)
    trial, silent = made.sweep.trials
    for said in (b"it broke\n", b"it broke\nagain, password=hunter22\n"):
        attempt = made.ledger.begin(trial)
        made.ledger.write_log(attempt, said)
        made.ledger.fail(attempt, "bug")
        made.ledger.fail(made.ledger.begin(silent), "bug")
        made.tell()
        assert [path.name for path in made.artifacts(trial.id).iterdir()] == ["log.txt"]
        assert not made.artifacts(silent.id).exists()
    assert (made.artifacts(trial.id) / "log.txt").read_text() == "it broke\nagain, password=***\n"
    made.ledger.write_log(made.ledger.begin(trial), b"at last\n")
    made.train(make_record, lambda count: make_epochs(2, count))
    made.tell()
    assert (made.artifacts(trial.id) / "log.txt").read_text() == "at last\n"
    assert (made.artifacts(trial.id) / "metrics.parquet").exists()


def test_what_answers_come_to_is_said_once_and_nothing_that_one_prediction_has_none_of(trained: Told) -> None:
    runs = trained.runs()
    for trial in trained.sweep.trials:
        kept = trained.ledger.outcomes(trial.id)["test"]
        several = len(kept.costs) > 1
        expected = {
            name: METRICS[name].of(kept) for name in views.OF_OUTCOMES if several or not METRICS[name].of_several
        }
        found = {name: value for name, value in runs[trial.id].data.metrics.items() if name.startswith("outcomes/")}
        assert found == pytest.approx({f"outcomes/{name}": value for name, value in expected.items()})
    assert "outcomes/auc" in runs[trained.sweep.trials[0].id].data.metrics


def test_mlflow_loads_the_trained_network(trained: Told) -> None:
    trial = next(trial for trial in trained.sweep.trials if trial.cell.method == "ann")
    record = trained.ledger.record(trial.id)
    model = pyfunc.load_model(str(trained.artifacts(trial.id) / "model"))
    digits = load_images("digits", None)
    images, labels = np.asarray(digits.test_images), np.asarray(digits.test_labels)
    every = model.predict(images, params={"all": True})
    assert every.shape == (len(images), 3, 10)
    assert every.sum(2) == pytest.approx(1, abs=1e-5)
    wrong = 100 * (every.argmax(2) != labels[:, None]).mean(0)
    assert wrong == pytest.approx(record.result.errors)
    assert model.predict(images).tolist() == every[:, -1].tolist()
    half = model.predict(images, params={"budget": record.result.costs[1] / record.result.costs[2]})
    assert half == pytest.approx(every[:, 1], abs=1e-6)
    with pytest.raises(ValueError, match=r"budget is 0\.01, must be from 0\.\d+, where the first prediction is, to 1"):
        model.predict(images, params={"budget": 0.01})


def test_a_model_is_half_of_a_checkpoint_and_is_known_to_the_list(trained: Told) -> None:
    for trial in trained.sweep.trials:
        (model,) = trained.artifacts(trial.id).glob("model/network/*.ckpt")
        (checkpoint,) = trained.ledger.folder(trial.id).glob("checkpoints/*.ckpt")
        assert model.stat().st_size < 0.7 * checkpoint.stat().st_size
        (known,) = json.loads(trained.runs()[trial.id].data.tags["mlflow.log-model.history"])
        assert known["artifact_path"] == "model"


@pytest.mark.parametrize(("given", "models"), [("0", set()), ("0.001", set()), ("0.05", {"model"}), ("", {"model"})])
def test_networks_that_are_too_large_are_left_out(
    tmp_path: Path, trained: Told, monkeypatch: pytest.MonkeyPatch, given: str, models: set[str]
) -> None:
    monkeypatch.setenv(tracking.MODELS, given)
    run_files.write(
        trained.sweep.trials[0], TrialState.FINISHED, trained.ledger, tmp_path, largest=tracking.largest_model()
    )
    assert {path.name for path in tmp_path.iterdir()} == {"curves.svg", "metrics.parquet"} | models


@pytest.mark.parametrize("history", [[], "none", {"step": 1}, [["step"]], [{"step": "last"}], 7, None])
def test_a_network_whose_checkpoint_somebody_forged_is_named_and_left_out(
    tmp_path: Path, trained: Told, caplog: pytest.LogCaptureFixture, history: object
) -> None:
    trial, files = trained.sweep.trials[0], tmp_path / "files"
    shutil.copytree(trained.ledger.folder(trial.id), tmp_path / "runs" / "trials" / trial.id)
    files.mkdir()
    ledger = Ledger(tmp_path / "runs")
    saved = checkpoint.latest(ledger.checkpoints(trial.id))
    assert saved
    step = saved.meta["history"][-1]["step"]
    forged = checkpoint.Checkpoint(saved.arrays, {**saved.meta, "history": history})
    checkpoint.save(ledger.checkpoints(trial.id), step, forged)
    run_files.write(trial, TrialState.FINISHED, ledger, files, largest=1e9)
    assert {path.name for path in files.iterdir()} == {"curves.svg", "metrics.parquet"}
    assert f"the network of {trial.id} does not go to MLflow: its checkpoint has no history" in caplog.text


@pytest.mark.parametrize("given", ["no", "-1", "nan"])
def test_what_is_no_size_of_a_network_is_refused(told: Told, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(tracking.MODELS, given)
    with pytest.raises(UsageError, match=f"ORCHESTRATE_MLFLOW_MODELS is '{given}', must be the size in MB"):
        told.tell()


def test_the_size_of_a_network_is_known_before_it_is_read(make_trial: Callable[..., Trial]) -> None:
    config = replace(make_trial().config, network=NetworkConfig(n=9, c=16))
    parts = build_network(config).state_dict().values()
    assert run_files.size_of(config) == pytest.approx(sum(part.nbytes for part in parts), rel=0.02)


def test_a_failure_is_gone_once_the_trial_has_finished(
    tmp_path: Path, empty: Path, make_record: Callable[..., TrialRecord]
) -> None:
    told = made_in(tmp_path, empty)
    trial = next(trial for trial in told.sweep.trials if isinstance(trial.config.regime, Opt))
    told.ledger.fail(told.ledger.begin(trial), "out of memory", "")
    told.tell()
    failed = told.runs()[trial.id]
    assert (failed.info.status, failed.data.tags["failure"]) == ("FAILED", "out of memory")
    told.ledger.finish(told.ledger.begin(trial), make_record(trial, (1.0,)))
    told.tell()
    finished = told.runs()[trial.id]
    assert (finished.info.status, finished.info.run_id) == ("FINISHED", failed.info.run_id)
    assert "failure" not in finished.data.tags


def test_a_method_with_a_new_name_is_shown_by_it(told: Told) -> None:
    assert is_current(told.ledger, told.sweep, told.uri) is False  # the summary
    before = {trial_id: run.info.run_id for trial_id, run in told.runs().items()}
    told.sweep.path.write_text(TEXT.replace("ann: {}", "plain: {}") + "report: {baseline: plain}\n")
    told.sweep = load(told.sweep.path)
    told.tell()
    runs = told.runs()
    assert {trial_id: run.info.run_id for trial_id, run in runs.items()} == before
    assert {run.info.run_name for run in runs.values()} == {"plain (1,2) digits s0", "opt (1,2) digits u3 s0"}
    assert {run.data.tags["method"] for run in runs.values()} == {"plain", "opt"}


def test_a_server_that_was_emptied_is_filled_again(told: Told) -> None:
    """The experiment is another one than that which was told."""
    expected = {(name, step, value) for _, name, step, value in history(told)}
    told.forget()
    told.tell()
    assert {(name, step, value) for _, name, step, value in history(told)} == expected


def test_other_experiments_stay_as_they_are(tmp_path: Path, empty: Path) -> None:
    told = made_in(tmp_path, empty)
    other = told.client.create_experiment("other", (tmp_path / "elsewhere").as_uri())
    run = told.client.create_run(other, tags={"trial_id": told.sweep.trials[0].id})
    told.ledger.begin(told.sweep.trials[0])
    told.tell()
    (found,) = told.client.search_runs([other])
    assert found.to_dictionary() == told.client.get_run(run.info.run_id).to_dictionary()
    assert found.info.status == "RUNNING"
    assert [run.info.status for run in told.runs().values()] == ["KILLED"]


def test_epochs_after_a_gap_wait_for_those_before(told: Told, make_epochs: Callable[..., list[EpochMetrics]]) -> None:
    """As where a server was emptied while a trial was being trained."""
    told.forget()
    store, trial = mlflow_store.Store(told.uri, told.sweep, told.ledger), told.sweep.trials[0]
    epochs = make_epochs(2, len(trial.config.predicting_units))
    store.write(trial, TrialState.RUNNING, epochs[1:], {})
    assert not history(told)
    store.write(trial, TrialState.RUNNING, epochs, {})
    assert {step for _, name, step, _ in history(told) if name == "error/at_1.00"} == {1, 2}


def test_the_views_of_the_runs_are_in_the_uis_menu(told: Told) -> None:
    tags = told.client.get_experiment(told.experiment).tags
    for name in ("errors", "curves"):
        kept = json.loads(tags[f"mlflow.sharedViewState.{name}"])
        assert kept["name"] == name
        assert "metrics.`error/at_1.00`" in json.loads(kept["state"])["selectedColumns"]
    pages = mlflow_store.pages(told.uri, "small", told.ledger.storage)
    assert pages.keys() == {"errors", "curves"}
    assert pages["errors"].startswith(f"#/experiments/{told.experiment}/runs?")


def test_where_nothing_is_to_be_told_mlflow_is_not_imported(told: Told) -> None:
    told.tell().summarise(told.ledger.sweep_folder("small"), {})
    program = (
        "import sys; from pathlib import Path\n"
        "from orchestrator.tracking import delivered, uris\n"
        "from orchestrator.ledger.ledger import Ledger; from orchestrator.sweepfile.load import load\n"
        "storage = Path(sys.argv[2])\n"
        "told = delivered.is_current(Ledger(storage), load(Path(sys.argv[1])), uris.default_uri(storage))\n"
        "print(told, {'mlflow', 'torch', 'matplotlib'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program, str(told.sweep.path), str(told.ledger.local)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True set()\n"


def test_what_a_killed_process_left_of_a_database_goes_in_time(tmp_path: Path) -> None:
    old, young = tmp_path / ".new-old", tmp_path / ".new-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "mlflow.db").touch()
    os.utime(old, (time.time() - 7200,) * 2)
    sqlite_file._tidy(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(old: Path, new: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    made, database = tmp_path / "made", tmp_path / "mlflow.db"
    made.write_text("ours")
    sqlite_file._put_in_place(made, database)
    assert database.read_text() == "ours"
    made.write_text("late")
    sqlite_file._put_in_place(made, database)
    assert database.read_text() == "ours"


def test_an_experiment_that_a_user_renamed_is_still_the_sweeps(told: Told) -> None:
    experiment = told.experiment
    told.client.rename_experiment(experiment, "chosen by a user")
    store = mlflow_store.Store(told.uri, told.sweep, told.ledger)
    assert store.experiment == experiment
    assert store.run_ids.keys() == {trial.id for trial in told.sweep.trials}
    assert told.client.get_experiment(experiment).name == "chosen by a user"
    assert told.client.get_experiment_by_name("small") is None
    pages = mlflow_store.pages(told.uri, "small", told.ledger.storage)
    assert pages["errors"].startswith(f"#/experiments/{experiment}/runs?")


def test_an_experiment_of_an_earlier_version_is_known_by_its_name_and_marked(told: Told) -> None:
    experiment = told.experiment
    told.client.delete_experiment_tag(experiment, "sweep")
    assert mlflow_store.Store(told.uri, told.sweep, told.ledger).experiment == experiment
    assert told.client.get_experiment(experiment).tags["sweep"] == "small"


def test_another_ledgers_sweep_of_the_same_name_has_an_experiment_of_its_own(told: Told, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other")
    other.make()
    stores = [mlflow_store.Store(told.uri, told.sweep, ledger) for ledger in (other, told.ledger, other)]
    assert stores[0].experiment == stores[2].experiment != stores[1].experiment == told.experiment
    assert not stores[0].run_ids
    names = [told.client.get_experiment(store.experiment).name for store in stores[:2]]
    assert names == [f"small ({getpass.getuser()})", "small"]
    pages = mlflow_store.pages(told.uri, "small", other.storage)
    assert pages["errors"].startswith(f"#/experiments/{stores[0].experiment}/runs?")


def test_an_import_tells_of_the_trials_that_it_brings(told: Told, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "here" / "mlflow").mkdir(parents=True)
    shutil.copy(empty, tmp_path / "here" / "mlflow" / "mlflow.db")
    command = ["import", str(told.ledger.local), str(told.sweep.path), "--storage", str(tmp_path / "here")]
    assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    here = Told(told.sweep, Ledger(tmp_path / "here"), default_uri(tmp_path / "here"))
    assert here.runs().keys() == {*told.sweep.ids}
    assert is_current(here.ledger, here.sweep, here.uri) is False  # it has no report yet
    assert all((here.artifacts(trial_id) / "metrics.parquet").exists() for trial_id in told.sweep.ids)
