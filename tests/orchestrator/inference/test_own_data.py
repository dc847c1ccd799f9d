"""Every command on what was trained on data of a user's own: 5 channels from arrays, and pictures."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from own_data import as_folder, as_npz, picture, pixels

from orchestrator.cli import cli
from orchestrator.errors import UsageError
from orchestrator.execution import images
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.inference import lookup
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.retries import FailureKind
from orchestrator.sweepfile.load import load

TEXT = """
name: mine
networks: [{n: 1, c: 2}]
datasets:
  - {name: pets, path: pets, format: image_folder, size: 6}
  - {name: spectra, path: spectra.npz, format: npz}
methods: {ann: {}}
training: {steps: 6, batch_size: 4, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


@dataclass
class Trained:
    folder: Path
    sweep: Sweep
    ledger: Ledger

    @property
    def where(self) -> WorkerContext:
        return WorkerContext(storage=self.ledger.storage, data_root=self.folder, own_data=self.sweep.own_data)

    def ids(self) -> dict[str, str]:
        return {trial.cell.dataset: trial.id for trial in self.sweep.trials}

    def call(self, command: str, *words: object) -> Result:
        storage = ["--storage", str(self.ledger.storage)]
        return CliRunner().invoke(cli, [command, *map(str, words), *storage], catch_exceptions=True)


@pytest.fixture(autouse=True, scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


def train(folder: Path) -> Trained:
    as_folder(folder / "pets", pixels())
    as_npz(folder / "spectra.npz", pixels(channels=5))
    (folder / "mine.yaml").write_text(TEXT)
    trained = Trained(folder, load(folder / "mine.yaml"), Ledger(folder / "runs"))
    trained.ledger.make()
    for trial in trained.sweep.trials:
        outcome = run_trial(trial, trained.where, lambda epochs: None)
        assert outcome.error is None
    return trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("mine"))


def test_pictures_are_answered_with_the_names_of_the_users_classes(trained: Trained, tmp_path: Path) -> None:
    picture(pixels(seed=3)["test_images"][0]).save(tmp_path / "a.png")
    said = trained.call("predict", trained.ids()["pets"], tmp_path / "a.png", "--resize", "--format", "json")
    assert said.exit_code == 0, said.output
    (answer,) = json.loads(said.stdout)
    assert answer["answer"]["answer"] in ("cat", "dog")
    assert answer["notes"] == ["8 x 8 pixels resized to 6 x 6"]


def test_arrays_of_five_channels_are_answered_and_pictures_refused(trained: Trained, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels(channels=5, seed=3)["test_images"][0])
    said = trained.call("predict", trained.ids()["spectra"], tmp_path / "a.npy")
    assert said.exit_code == 0, said.output
    picture(pixels()["test_images"][0]).save(tmp_path / "a.png")
    refused = trained.call("predict", trained.ids()["spectra"], tmp_path / "a.png").exception
    assert str(refused).endswith("a.png: is a picture, and images of spectra have 5 channels; give an .npy")


def test_a_sequence_is_of_one_content_not_of_one_name(trained: Trained) -> None:
    shallow = lookup.find([trained.ids()["pets"]], trained.ledger)[0]
    data, network = shallow.config.data, shallow.config.network
    assert data.own
    deeper = replace(shallow.record, result=replace(shallow.record.result, units=(4, 5, 6)))
    deep = replace(shallow, config=replace(shallow.config, network=replace(network, n=2)), record=deeper)
    lookup._refuse_no_sequence([shallow, deep])
    other = replace(data, own=replace(data.own, content="another"))
    with pytest.raises(UsageError, match="must be of one data set"):
        lookup._refuse_no_sequence([shallow, replace(deep, config=replace(deep.config, data=other))])


@pytest.mark.parametrize("command", ["show", "report", "status", "plan"])
def test_a_command_on_the_sweep_names_the_data(trained: Trained, command: str) -> None:
    words = ["pets"] if command == "show" else []
    said = trained.call(command, trained.folder / "mine.yaml", *words)
    assert said.exit_code == 0, said.output
    assert "pets" in said.stdout


def test_profiles_are_of_the_users_images(trained: Trained) -> None:
    said = trained.call("profile", trained.ids()["spectra"], "--repeats", 1, "--format", "json")
    assert said.exit_code == 0, said.output


def test_an_exported_file_knows_the_users_classes(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    said = trained.call("export", trained.ids()["spectra"], "--output", tmp_path / "a.zip")
    assert said.exit_code == 0, said.output
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["dataset"], manifest["classes"], manifest["channels"]) == ("spectra", ["cat", "dog"], 5)


def test_a_rerun_gives_the_same_bits(trained: Trained) -> None:
    said = trained.call("reproduce", trained.folder / "mine.yaml", "pets")
    assert said.exit_code == 0, said.output


def test_doctor_finds_the_data_ready(trained: Trained) -> None:
    said = trained.call("doctor", trained.folder / "mine.yaml", "--format", "json")
    checks: list[dict[str, Any]] = json.loads(said.stdout)
    assert [check["found"] for check in checks if check["name"] == "data"] == ["pets: ready", "spectra: ready"]


def test_a_worker_trains_on_no_other_data_and_names_both(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    mine = train(tmp_path / "before")
    (trial,) = (trial for trial in mine.sweep.trials if trial.cell.dataset == "spectra")
    shutil.rmtree(mine.ledger.folder(trial.id))
    as_npz(tmp_path / "before" / "spectra.npz", pixels(channels=5, seed=1))
    images.forget()  # as in another process: this one has those of the trial at hand
    outcome = run_trial(trial, mine.where, lambda epochs: None)
    assert outcome.kind is FailureKind.INPUT
    assert outcome.error
    assert "spectra.npz is " in outcome.error
    assert trial.config.data.own
    assert f"and that of the trial is {trial.config.data.own.content}" in outcome.error


def test_what_was_trained_can_be_used_when_the_data_are_gone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    mine = train(tmp_path / "mine")
    shutil.rmtree(mine.folder / "pets")
    picture(pixels()["test_images"][0]).save(tmp_path / "a.png")
    for command, words in (("predict", ["pets", tmp_path / "a.png", "--resize"]), ("report", []), ("show", ["pets"])):
        said = mine.call(command, mine.folder / "mine.yaml", *words)
        assert said.exit_code == 0, said.output
