"""Networks of extensions: built from the seed, run prediction by prediction, counted, trained, resumed to the bit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import documented
import pytest
import torch
from torch import Tensor, nn

from anytime_core import AnytimePredictor, load_network, train
from anytime_core.building import counted_costs
from anytime_core.config import (
    KINDS,
    Absent,
    DataConfig,
    Joint,
    Midfeat,
    NetworkConfig,
    NoGrad,
    Opt,
    TrainingConfig,
    TrialConfig,
    from_dict,
    to_dict,
)
from anytime_core.cost import network_costs, prediction_costs, trial_costs
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images
from anytime_core.errors import CheckpointError, ConfigError
from anytime_core.extend import ExtensionError, Network, register
from anytime_core.model.network import AnytimeResNet, build_network
from anytime_core.training.trainer import build_run

DIGITS = 10, 1, 8
"""Classes, channels and pixels of a side."""


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    """The module of docs/networks.md."""
    module = ModuleType("documented_nets")
    sys.modules[module.__name__] = module
    exec(documented.block("python"), vars(module))
    yield module
    KINDS["network"].clear()
    del sys.modules[module.__name__]


@pytest.fixture
def mlp(page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(KINDS["network"], "mlp", page.Mlp)
    return page.Mlp(width=8, depth=3)


@pytest.fixture(scope="module")
def images() -> Images:
    digits = DATASETS["digits"]
    draws = torch.Generator().manual_seed(0)
    shape = (digits.train_images + digits.test_images, *digits.image)
    pixels = torch.randint(0, 17, shape, generator=draws, dtype=torch.uint8).numpy()
    labels = torch.randint(0, 10, (len(pixels),), generator=draws).numpy()
    last = digits.train_images
    return Images(
        train_images=pixels[:last], train_labels=labels[:last], test_images=pixels[last:], test_labels=labels[last:]
    )


def trial(network: Any, regime: Any = None, **training: Any) -> TrialConfig:
    return TrialConfig(
        network=network,
        data=DataConfig(name="digits", pad=1),
        regime=regime or Joint(),
        training=TrainingConfig(**{"steps": 10, "batch_size": 256, "learning_rate": {0: 0.05}} | training),
    )


# Costs


def test_counted_costs_are_sums_by_hand(mlp: Any) -> None:
    assert counted_costs(mlp, *DIGITS) == [64 * 8 + 80, 64 * 8 + 80 + 144, 64 * 8 + 80 + 288]


class PlainResNet(nn.Module):
    """Section 4.1 with torch's own layers, unit by unit."""

    def __init__(self, n: int, c: int, classes: int, channels: int) -> None:
        super().__init__()
        self.stem = _conv(channels, c)
        self.units, self.before, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for unit in range(3 * n):
            width, opens = c << (unit // n), unit and unit % n == 0
            self.before.append(_conv(width // 2, width, 2) if opens else nn.Identity())
            norms = [nn.BatchNorm2d(width) for _ in range(3)]
            self.units.append(
                nn.Sequential(norms[0], _conv(width, width), norms[1], nn.ReLU(), _conv(width, width), norms[2])
            )
            self.heads.append(nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        x = self.stem(x)
        for before, unit, head in zip(self.before, self.units, self.heads, strict=True):
            x = before(x)
            x = x + unit(x)
            yield head(x.relu().mean((2, 3)))


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1, bias=False)


@dataclass(frozen=True, kw_only=True)
class Rebuilt(Network):
    n: int
    c: int

    @property
    def predictions(self) -> int:
        return 3 * self.n

    def build(self, classes: int, channels: int, size: int) -> nn.Module:
        return PlainResNet(self.n, self.c, classes, channels)


Rebuilt.name, Rebuilt.source = "rebuilt", ""


def take_weights(plain: PlainResNet, ours: AnytimeResNet) -> None:
    plain.stem.load_state_dict(ours.stem.state_dict())
    for number, (before, unit, head) in enumerate(zip(plain.before, plain.units, plain.heads, strict=True)):
        block: Any = ours.blocks[number // ours.n]
        index = number % ours.n
        unit.load_state_dict(block.units[index].residual.state_dict())
        if not index and number:
            before.load_state_dict(block.transition.state_dict())
        head.load_state_dict({"weight": block.heads.weight[index].t(), "bias": block.heads.bias[index]})


@pytest.mark.parametrize(("n", "c", "image"), [(1, 4, DIGITS), (2, 3, (100, 3, 9))])
def test_a_resnet_through_the_interface_costs_and_computes_the_same(n: int, c: int, image: Sequence[int]) -> None:
    classes, channels, size = image
    rebuilt = Rebuilt(n=n, c=c)
    closed = prediction_costs(n, c, num_classes=classes, in_channels=channels, image_size=size)
    assert counted_costs(rebuilt, classes, channels, size) == closed
    ours = AnytimeResNet(n, c, classes, in_channels=channels, seed=3).eval()
    plain = rebuilt.build(classes, channels, size)
    assert isinstance(plain, PlainResNet)
    take_weights(plain, ours)
    pixels = torch.randn(5, channels, size, size)
    torch.testing.assert_close(torch.stack([*plain.eval()(pixels)]), ours(pixels))


@dataclass(frozen=True, kw_only=True)
class Odd(Network):
    """Wrong in the way that ``how`` says."""

    how: str
    predictions: int = 2

    def build(self, classes: int, channels: int, size: int) -> Any:
        if self.how == "no module":
            return "mlp"
        module = nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, classes))
        module.refine = self.refine(module)  # type: ignore[assignment]
        return module

    def refine(self, module: nn.Module) -> Any:
        def refine(x: Tensor) -> Any:
            logits = module(x)
            return {
                "at once": torch.stack([logits, logits]),
                "three": [logits] * 3,
                "shape": [logits[:, :2]] * 2,
                "raises": None,
            }[self.how]

        return refine

    def costs(self, classes: int, channels: int, size: int) -> list[int] | None:
        return [5, 5] if self.how == "costs" else None


Odd.name, Odd.source = "odd", ""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no module", "build gives a str, must be a torch module"),
        ("at once", r"must be 2 ascending whole numbers, one up to each prediction: yield the predictions one by one"),
        ("three", r"shapes \[1, 10\], \[1, 10\], \[1, 10\] of one image, must be 2 of \[1, 10\]"),
        ("shape", r"shapes \[1, 2\], \[1, 2\] of one image"),
        ("raises", r"does not run on an image \[1,8,8\]: TypeError"),
        ("costs", r"costs \[5, 5\] multiply-adds, must be 2 ascending"),
    ],
)
def test_what_is_no_anytime_network_is_refused_in_a_line(how: str, message: str) -> None:
    with pytest.raises(ExtensionError, match=f"^network odd.*{message}") as error:
        network_costs(Odd(how=how), *DIGITS)
    assert "\n" not in str(error.value)


# Identity


def test_a_config_comes_back_from_json_and_a_network_that_is_not_here_can_still_be_read(mlp: Any) -> None:
    config = trial(mlp)
    written = to_dict(config)
    assert written["network"] == {"name": "mlp", "source": "", "width": 8, "depth": 3}
    assert from_dict(written) == config
    KINDS["network"].clear()
    read = from_dict(written)
    assert isinstance(read.network, Absent)
    assert to_dict(read) == written
    assert read.network.label == "mlp"
    with pytest.raises(ConfigError, match="network mlp of source  is not here, or has changed"):
        build_network(read)


def test_a_network_needs_predictions_and_hides_no_function_by_a_field() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare(Network):
        label: str = "x"

    with pytest.raises(ExtensionError, match="field label, which is reserved; Bare lacks predictions"):
        register("bare")(Bare)


def test_the_usual_label_names_what_is_not_at_its_default(page: ModuleType) -> None:
    assert Odd(how="costs").label == "odd how=costs"
    assert replace(Odd(how="costs"), predictions=3).label == "odd how=costs predictions=3"
    assert page.Mlp(width=8).label == "mlp 8x3"


# Training


def weights_of(config: TrialConfig) -> list[Tensor]:
    return [*build_network(config).parameters()]


def test_initial_weights_come_from_the_seed_alone_and_leave_torch_as_it_was(mlp: Any) -> None:
    config = trial(mlp)
    first = weights_of(config)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again, other = weights_of(config), weights_of(replace(config, seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.drop = nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)
        self.heads = nn.ModuleList([nn.Linear(16, 10), nn.Linear(16, 10)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.body(x.view(len(x), -1)))).relu()
        return torch.stack([head(x) for head in self.heads])


@dataclass(frozen=True, kw_only=True)
class DroppingNet(Network):
    predictions: int = 2

    def build(self, classes: int, channels: int, size: int) -> nn.Module:
        return Dropping()

    def costs(self, classes: int, channels: int, size: int) -> list[int]:
        return [1184, 1344]


DroppingNet.name, DroppingNet.source = "dropping", ""


class _StopError(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_training_ends_with_the_same_bits_though_it_drops_out(tmp_path, images, precision) -> None:
    config = trial(DroppingNet(), precision=precision)
    begun = torch.random.get_rng_state()
    whole = build_run(config, images, "cpu")
    while not whole.ended:
        whole.epoch()
    torch.random.set_rng_state(begun)

    def report(metrics: Any) -> None:
        if metrics.epoch == 1:
            raise _StopError

    with pytest.raises(_StopError):
        train(config, report, tmp_path, images=images, device="cpu")
    torch.rand(3)
    resumed = train(config, checkpoints=tmp_path, images=images, device="cpu")
    assert resumed.errors == whole.history[-1].test_error
    assert all(torch.isfinite(parameter).all() for parameter in whole.network.parameters())


@pytest.mark.parametrize("regime", [Joint(), Opt(unit=2), Midfeat(), NoGrad()])
def test_each_regime_trains_what_the_network_names(mlp, images, tmp_path, regime) -> None:
    config = trial(mlp, regime, steps=5)
    result = train(config, checkpoints=tmp_path, images=images, device="cpu")
    assert result.units == config.predicting_units
    assert list(result.costs) == trial_costs(config)
    KINDS["network"]["mlp"] = type(mlp)
    network = load_network(tmp_path)
    pixels = torch.tensor(images.test_images[:3])
    answers = [*AnytimePredictor(network).refine(pixels)]
    torch.testing.assert_close(torch.stack([it.probabilities for it in answers]), network(pixels).softmax(2))


def test_midfeat_leaves_the_trunk_as_the_last_prediction_made_it(mlp, images) -> None:
    run = build_run(trial(mlp, Midfeat(), steps=5), images, "cpu")
    run.epoch()
    trunk = run.network.module.layers[0].weight.clone()  # type: ignore[union-attr,index,operator]
    heads = [head.weight.clone() for head in run.network.module.heads]  # type: ignore[union-attr]
    run.epoch()
    assert torch.equal(run.network.module.layers[0].weight, trunk)  # type: ignore[union-attr,index]
    changed = [not torch.equal(a, b.weight) for a, b in zip(heads, run.network.module.heads, strict=True)]  # type: ignore[union-attr,arg-type]
    assert changed == [True, True, False]


@pytest.mark.parametrize(
    ("regime", "training", "needed"),
    [
        (Opt(unit=1), {}, r"up_to\(prediction\), which opt needs"),
        (Midfeat(), {}, r"head\(prediction\), which midfeat needs"),
        (NoGrad(), {}, r"head\(prediction\), which no_grad needs; .* trunk\(prediction\)"),
        (NoGrad(variant="stop_gradient"), {}, "let_flow, which no_grad with stop_gradient needs"),
        (Joint(), {"head_decay": "loss_weight"}, r"head\(prediction\), which head_decay: loss_weight needs"),
        (Joint(), {"compiled": True}, "which compiled: true needs"),
    ],
)
def test_what_a_network_lacks_is_refused_before_it_trains(images, regime, training, needed) -> None:
    with pytest.raises(ConfigError, match=f"^network dropping has no .*{needed}"):
        build_run(trial(DroppingNet(), regime, **training), images, "cpu")


def test_a_depth_past_the_last_prediction_is_refused(mlp: Any) -> None:
    with pytest.raises(ValueError, match=r"regime\.unit is 4, must be at most the predictions of mlp = 3"):
        trial(mlp, Opt(unit=4))


# Answers


def test_a_budget_is_kept_by_computing_no_more(mlp, images, tmp_path) -> None:
    train(trial(mlp, steps=5), checkpoints=tmp_path, images=images, device="cpu")
    network = load_network(tmp_path)
    predictor = AnytimePredictor(network)
    calls: list[str] = []
    for name, module in network.network.module.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    costs = predictor.costs(8)
    answer = predictor.predict(images.test_images[0], budget=costs[1] / costs[-1])
    assert (answer.index, answer.unit, answer.cost) == (1, 2, costs[1])
    assert {"layers.1", "heads.1"} <= set(calls)
    assert not {"layers.2", "heads.2"} & set(calls)


def test_a_network_that_is_not_here_says_what_makes_it_known(mlp, images, tmp_path) -> None:
    train(trial(mlp, steps=5), checkpoints=tmp_path, images=images, device="cpu")
    KINDS["network"].clear()
    with pytest.raises(CheckpointError, match=r"network mlp of source  is not here.*extensions\.use"):
        load_network(tmp_path)


def test_sequences_are_of_resnets(mlp: Any) -> None:
    from anytime_core.data.loader import Normalisation
    from anytime_core.predictor import ExponentialSequence
    from anytime_core.trained import TrainedNetwork

    normalise = Normalisation(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    built = [build_network(trial(network)) for network in (mlp, NetworkConfig(n=2, c=2))]
    with pytest.raises(ValueError, match="a sequence is one of anytime ResNets"):
        ExponentialSequence([TrainedNetwork(network, normalise).eval() for network in built])
