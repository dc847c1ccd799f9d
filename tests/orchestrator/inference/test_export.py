"""An exported network gives the predictions of the trained one, interruptible, and without this package."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from anytime_core.config import Transition
from anytime_core.data.loader import Normalisation
from anytime_core.model.network import AnytimeResNet
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.inference.export import Description, export
from orchestrator.inference.onnx_runner import Network

NAMES = [f"class {index}" for index in range(10)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(n: int = 2, c: int = 4, channels: int = 1, **options: Any) -> TrainedNetwork:
    """Not trained, but with statistics that make no layer a plain one."""
    network = AnytimeResNet(n, c, 10, in_channels=channels, **options)
    draws = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features, generator=draws) - 0.5
            module.running_var = torch.rand(module.num_features, generator=draws) + 0.5
    mean, std = (torch.full((1, channels, 1, 1), value) for value in (120.0, 60.0))
    return TrainedNetwork(network, Normalisation(mean, std)).eval()


def pixels(count: int, channels: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def exported(network: TrainedNetwork, path: Path, size: int) -> Network:
    export(network, Description(trial="ab12", label="ann (2,4)", dataset="digits", size=size, classes=NAMES), path)
    return Network(path, threads=1)


@pytest.mark.parametrize("transition", get_args(Transition))
@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [(3, 32, {}), (1, 28, {"period": 4}), (1, 8, {"predicting_units": (1, 3)})],  # 28, 14, 7, and rounded up, 4
)
def test_the_predictions_are_those_of_torch(tmp_path, transition, channels, size, options) -> None:
    network, images = network_of(2, 4, channels, transition=transition, **options), pixels(3, channels, size)
    expected = list(AnytimePredictor(network).refine(images))
    found = list(exported(network, tmp_path / "network.zip", size).refine(images))
    assert [(it.index, it.unit, it.cost) for it in found] == [(it.index, it.unit, it.cost) for it in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities.numpy(), rtol=1e-4, atol=1e-6)


def test_it_is_interrupted_as_the_trained_one_is(tmp_path) -> None:
    network, images = network_of(), pixels(2, 1, 8)
    predictor, runner = AnytimePredictor(network), exported(network, tmp_path / "network.zip", 8)
    costs = predictor.costs(8)
    for limits in (
        *({"budget": cost} for cost in costs),
        *({"budget": part} for part in (0.3, 0.5, 1)),
        {"confidence": 0.2},
    ):
        assert runner.predict(images, **limits).index == predictor.predict(images, **limits).index
    assert runner.predict(images, budget=costs[0] - 1) is None
    assert runner.predict(images, deadline=1e-9) is None
    stop = threading.Event()
    for answer in runner.refine(images[0], stop=stop):
        if answer.index == 2:
            stop.set()
    assert (answer.index, answer.probabilities.shape) == (2, (1, 10))


def test_the_file_runs_by_itself_where_this_package_is_not(tmp_path) -> None:
    """Isolated from it: only what numpy and onnxruntime need is on the path."""
    network, image = network_of(), pixels(1, 1, 8)
    exported(network, tmp_path / "network.zip", 8)
    np.save(tmp_path / "image.npy", image)
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['anytime_core'] = sys.modules['orchestrator'] = None;"
        "sys.argv = ['network.zip', '--budget', '0.5', 'image.npy']; runpy.run_path('network.zip', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = list(AnytimePredictor(network).refine(image, budget=0.5))
    told = [line.split("multiply-adds")[1].split("  ")[1] for line in done.stdout.splitlines()]
    assert told == [NAMES[int(answer.classes)] for answer in answers]


def test_what_are_no_images_is_told_in_a_line(tmp_path) -> None:
    exported(network_of(), tmp_path / "network.zip", 8)
    np.save(tmp_path / "flat.npy", np.zeros((8, 8)))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    said = {
        "flat.npy": "flat.npy: images are float64 [8, 8], must be numbers [N,1,8,8]",
        "picture.png": "picture.png: no file of numpy's",
        "nosuch.npy": "nosuch.npy: No such file or directory",
    }
    for name, words in said.items():
        command = [sys.executable, "network.zip", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].endswith(f"error: {words}"), done.stderr


def test_the_manifest_says_what_is_in_it_and_equal_networks_are_equal_files(tmp_path) -> None:
    paths = [tmp_path / "one.zip", tmp_path / "deeper" / "two.zip"]
    network = network_of(period=2)
    for path in paths:
        exported(network, path, 8)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with ZipFile(paths[0]) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert {stage["file"] for stage in manifest["stages"]} < set(archive.namelist())
    assert manifest["normalisation"] == {"mean": [120.0], "std": [60.0]}
    assert (manifest["trial"], manifest["classes"], manifest["size"], manifest["channels"]) == ("ab12", NAMES, 8, 1)
    assert [stage["cost"] is not None for stage in manifest["stages"]] == [False, True] * 3


def test_a_file_of_another_version_is_refused(tmp_path) -> None:
    with ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("manifest.json", '{"version": 99}')
    with pytest.raises(ValueError, match="version is 99, must be 1"):
        Network(tmp_path / "other.zip")


def test_a_module_that_has_no_graph_is_named(tmp_path) -> None:
    network = network_of()
    network.network.blocks[0].units[0].residual[3] = nn.GELU()
    with pytest.raises(ValueError, match="a GELU cannot be exported, only Sequential, Unit, Conv2d"):
        exported(network, tmp_path / "network.zip", 8)
