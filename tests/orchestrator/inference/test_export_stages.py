"""An exported network of stages answers as the trained one, stage by stage, and without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from staged_networks import Chain, Scales, known
from torch import Tensor, nn

from anytime_core.data.loader import Normalisation
from anytime_core.extend import Network as OfAnExtension
from anytime_core.extend import StagedNetwork
from anytime_core.model import traced
from anytime_core.model.own import OwnModule
from anytime_core.networks import Feedback, MSDNet
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.errors import UsageError
from orchestrator.inference.export import Description, export
from orchestrator.inference.onnx_runner import MANY, VERSION, Network

SIZE = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def networks() -> Iterator[None]:
    with known():
        yield


def trained(part: OfAnExtension, alone: int | None = None) -> TrainedNetwork:
    """Not trained, but with statistics that make no layer a plain one."""
    network, draws = OwnModule(part, 10, 3, SIZE, alone=alone), torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features, generator=draws) - 0.5
            module.running_var = torch.rand(module.num_features, generator=draws) + 0.5
    mean, std = (torch.full((1, 3, 1, 1), value) for value in (120.0, 60.0))
    return TrainedNetwork(network, Normalisation(mean, std), None).eval()


def exported(network: TrainedNetwork, path: Path) -> Network:
    classes = [f"class {index}" for index in range(10)]
    export(network, Description(trial="ab12", label="ann mine", dataset="mine", size=SIZE, classes=classes), path)
    return Network(path, threads=1)


class Branching(nn.Module):
    """Which of two things it does depends on the values that come in."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@dataclass(frozen=True, kw_only=True)
class Undecided(StagedNetwork):
    predicting_stages = (1,)

    def stages(self, classes, channels, size):
        head = nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, classes))
        return [(Branching(), head)]


@dataclass(frozen=True, kw_only=True)
class Whole(OfAnExtension):
    predictions: int = 1

    def build(self, classes, channels, size):
        return OnePrediction(nn.Linear(channels * size**2, classes))


class OnePrediction(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        yield self.layer(x.flatten(1))


class Folding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)


@dataclass(frozen=True, kw_only=True)
class Fixed(StagedNetwork):
    """``len`` of a tensor is a number that torch writes down."""

    predicting_stages = (1,)

    def stages(self, classes, channels, size):
        return [(Folding(), nn.Linear(channels * size**2, classes))]


class Wrapped(nn.Module):
    """Features are a tuple of one tensor."""

    def __init__(self, channels: int, first: bool) -> None:
        super().__init__()
        self.first, self.convolution = first, nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x):
        return (self.convolution(x if self.first else x[0]),)


class OfOne(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, classes)

    def forward(self, x):
        (features,) = x
        return self.linear(features.mean((2, 3)))


@dataclass(frozen=True, kw_only=True)
class Single(StagedNetwork):
    predicting_stages = (2,)

    def stages(self, classes, channels, size):
        return [(Wrapped(channels, True), None), (Wrapped(4, False), OfOne(classes))]


for kind in (Undecided, Whole, Fixed, Single):
    kind.name, kind.source = kind.__name__.lower(), kind.__name__


CASES = {
    "a chain": (Chain(depth=1), None, VERSION),
    "scales": (Scales(), None, MANY),
    "opt": (Scales(), 1, MANY),
    "a tuple of one": (Single(), None, VERSION),
    "msdnet": (MSDNet(blocks=2, base=1, step=1, channels=2, growth=2, head_channels=4), None, MANY),
    "feedback": (Feedback(iterations=2, cells=1, c=2), None, MANY),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory) -> tuple[TrainedNetwork, Path, int]:
    """A network, its file, and the version that the file is of."""
    part, alone, version = CASES[request.param]
    with known():
        network, path = trained(part, alone), tmp_path_factory.mktemp("exported") / "network.zip"
        exported(network, path)
    return network, path, version


def test_it_answers_and_is_interrupted_as_the_trained_one(case) -> None:
    network, path, version = case
    runner, predictor = Network(path, threads=1), AnytimePredictor(network)
    assert runner.manifest["version"] == version
    assert len(runner.manifest["stages"]) == len(network.network.module.bodies)
    expected, found = list(predictor.refine(IMAGES)), list(runner.refine(IMAGES))
    assert [(it.index, it.unit, it.cost) for it in found] == [(it.index, it.unit, it.cost) for it in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities.numpy(), rtol=1e-4, atol=1e-6)
    for budget in (0.5, 1, *(it.cost for it in expected)):
        own = runner.predict(IMAGES[:1], budget=budget)
        assert (-1 if own is None else own.index) == len(list(predictor.refine(IMAGES[:1], budget=budget))) - 1


def test_the_file_runs_where_neither_torch_nor_this_package_is(case, tmp_path) -> None:
    network, path, _ = case
    np.save(tmp_path / "image.npy", IMAGES[0])
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['anytime_core'] = sys.modules['orchestrator'] = None;"
        f"sys.argv[0] = {str(path)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "image.npy"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(network.predicting_units)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Undecided(), "ann mine: not exportable: torch cannot write stage 1: "),
        (Fixed(), "ann mine: not exportable: torch cannot write stage 1: it is fixed to 2 images at once; use x.shape"),
        (Whole(), "ann mine: not exportable; anytime ResNets and networks of stages are"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, part, words) -> None:
    with pytest.raises(UsageError) as refused:
        exported(trained(part), tmp_path / "network.zip")
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch) -> None:
    def missing(*_: object) -> bytes:
        raise ImportError("No module named 'onnxscript'")

    monkeypatch.setattr(traced, "_written", missing)
    with pytest.raises(UsageError, match=r"export needs onnxscript \(No module.*\); to install: pip install"):
        exported(trained(Scales()), tmp_path / "network.zip")
