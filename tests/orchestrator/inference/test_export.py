"""An exported network gives the predictions of the trained one, interruptible, and without this package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from anytime_core.config import Transition
from anytime_core.data.loader import Normalisation
from anytime_core.inputs import ImageSpec
from anytime_core.model.network import AnytimeResNet
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.inference import onnx_runner
from orchestrator.inference.export import Description, export
from orchestrator.inference.onnx_runner import Network

NAMES = [f"class {index}" for index in range(10)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


DIGITS = ImageSpec(1, 8, 16)
ALLOWED = "must be numbers [N,1,8,8], [1,8,8] or [8,8] from 0 to 16"


def network_of(
    n: int = 2, c: int = 4, channels: int = 1, *, spec: ImageSpec | None = None, **options: Any
) -> TrainedNetwork:
    """Not trained, but with statistics that make no layer a plain one."""
    network = AnytimeResNet(n, c, 10, in_channels=channels, **options)
    draws = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features, generator=draws) - 0.5
            module.running_var = torch.rand(module.num_features, generator=draws) + 0.5
    mean, std = (torch.full((1, channels, 1, 1), value) for value in (120.0, 60.0))
    return TrainedNetwork(network, Normalisation(mean, std), spec).eval()


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
    done = told(tmp_path, "--budget", "0.5", "image.npy")
    assert done.returncode == 0, done.stderr
    answers = list(AnytimePredictor(network).refine(image, budget=0.5))
    names = [line.split("multiply-adds")[1].split("  ")[1] for line in done.stdout.splitlines()]
    assert names == [NAMES[int(answer.classes)] for answer in answers]


def told(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the exported file in a folder, with only numpy, onnxruntime and what they need on the path."""
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['anytime_core'] = sys.modules['orchestrator'] = None;"
        "sys.argv[0] = 'network.zip'; runpy.run_path('network.zip', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_what_are_no_images_is_told_in_a_line(tmp_path) -> None:
    exported(network_of(spec=DIGITS), tmp_path / "network.zip", 8)
    np.save(tmp_path / "long.npy", np.zeros(8))
    np.save(tmp_path / "nan.npy", np.full((1, 8, 8), np.nan))
    np.savez(tmp_path / "archive.npz", a=np.zeros(8))
    (tmp_path / "void.npy").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    said = {
        "long.npy": f"images are float64 [8] from 0 to 0, {ALLOWED}",
        "nan.npy": f"images are float64 [1, 8, 8] with NaN or infinity among them, {ALLOWED}",
        "archive.npz": "is an archive, such as an .npz, must be an .npy file with one array of numbers",
        "void.npy": "is an empty file, must be an .npy file with one array of numbers",
        "picture.png": "is no .npy file, must be an .npy file with one array of numbers",
        "nosuch.npy": "No such file or directory",
    }
    for name, words in said.items():
        done = told(tmp_path, name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].endswith(f"error: {name}: {words}"), done.stderr


def test_limits_that_cannot_be_are_told_with_the_images_that_cannot_be(tmp_path) -> None:
    exported(network_of(spec=DIGITS), tmp_path / "network.zip", 8)
    np.save(tmp_path / "negative.npy", np.full((8, 8), -1))
    done = told(tmp_path, "negative.npy", "--deadline", "5", "--confidence", "90", "--budget", "nan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.partition("error: ")[2].splitlines() == [
        "deadline is '5', must be a time such as 5ms, 0.1s or 250us; budget is nan, must be a positive number; "
        "confidence is 90.0, must be above 0 and at most 1",
        f"negative.npy: images are int64 [8, 8] from -1 to -1, {ALLOWED}",
    ]


def test_images_of_another_white_are_scaled_by_the_file_itself(tmp_path) -> None:
    network = network_of(spec=DIGITS)
    exported(network, tmp_path / "network.zip", 8)
    digit = np.random.default_rng(0).integers(0, 17, (1, 8, 8))
    np.save(tmp_path / "digit.npy", digit)
    np.save(tmp_path / "scaled.npy", digit / 16)
    lines = [
        [line.split("ms", 1)[1] for line in told(tmp_path, *arguments).stdout.splitlines()]
        for arguments in (["digit.npy"], ["scaled.npy", "--brightest", "1"], ["digit.npy", "--deadline", "60s"])
    ]
    assert len(lines[0]) == 6
    assert lines[0] == lines[1] == lines[2]


class Slow:
    """Stands for a session of ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self.get_outputs, self._run = session.get_outputs, session.run

    def run(self, *arguments: Any) -> Any:
        time.sleep(0.02)
        return self._run(*arguments)


def test_an_answer_after_its_deadline_says_so(tmp_path, capsys) -> None:
    network = exported(network_of(), tmp_path / "network.zip", 8)
    network._sessions = [Slow(session) for session in network._sessions]
    onnx_runner._answer(network, pixels(1, 1, 8), {"deadline": 0.005})
    (line,) = capsys.readouterr().out.splitlines()
    taken, missed = re.fullmatch(r" *([\d.]+) ms .*  ([\d.]+) ms after the deadline", line).groups()
    assert float(missed) == pytest.approx(float(taken) - 5, abs=0.1)
    onnx_runner._answer(network, pixels(1, 1, 8), {"deadline": 60})
    assert "deadline" not in capsys.readouterr().out


def test_an_exported_network_has_run_before_the_first_deadline(tmp_path, monkeypatch) -> None:
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(Network, "predict", lambda self, images: shapes.append(images.shape))
    exported(network_of(), tmp_path / "network.zip", 8)
    assert shapes == [(1, 8, 8)]


def test_a_file_from_before_the_checks_takes_pixels_without_an_end(tmp_path) -> None:
    exported(network_of(spec=DIGITS), tmp_path / "new.zip", 8)
    with ZipFile(tmp_path / "new.zip") as new, ZipFile(tmp_path / "old.zip", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "manifest.json":
                content = json.dumps({k: v for k, v in json.loads(content).items() if k != "brightest"}).encode()
            old.writestr(name, content)
    assert Network(tmp_path / "old.zip").predict(np.full((8, 8), 200)).index == 5


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


@pytest.mark.parametrize(
    "manifest", ['{"version": 1, "stages": [{"file": "a"}, {"file": "a"}]}', "[" * 10**5, "[]", '{"version": 1}', "{"]
)
def test_a_damaged_file_is_one_message(manifest, tmp_path) -> None:
    with ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("a", b"")
    with pytest.raises(ValueError, match=r"other.zip: is no exported network, or a damaged one"):
        Network(tmp_path / "other.zip")


def test_a_file_that_would_take_more_room_than_it_does_is_refused(tmp_path) -> None:
    with ZipFile(tmp_path / "other.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", " " * 10**7)
    with pytest.raises(ValueError, match="its parts are larger than it is itself"):
        Network(tmp_path / "other.zip")
