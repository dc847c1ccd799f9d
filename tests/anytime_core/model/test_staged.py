"""Networks of stages: what a network must say of itself follows from their bodies and heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
import torch
from staged_networks import CHANNELS, Chain, Scales, known
from torch import nn
from trials import digits_trial

from anytime_core import AnytimePredictor, load_images, load_network, train
from anytime_core.building import counted_costs
from anytime_core.config import Joint, Midfeat, NoGrad, Opt, TrialConfig
from anytime_core.cost import own_costs, trial_costs
from anytime_core.extend import ExtensionError, GradientFlow, StagedNetwork, UpTo, register
from anytime_core.model.network import build_network
from anytime_core.model.own import OwnModule
from anytime_core.result import EpochMetrics
from anytime_core.trained import network_hash
from anytime_core.training.suiting import lacking
from anytime_core.training.trainer import build_run

DIGITS = 10, 1, 8
"""Classes, channels and pixels of a side."""
NETWORKS = [Chain(), Chain(depth=3, every=1), Scales()]


@pytest.fixture(autouse=True)
def networks() -> Iterator[None]:
    with known():
        yield


def module_of(network: StagedNetwork, alone: int | None = None) -> OwnModule:
    return OwnModule(network, *DIGITS, alone=alone)


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_stage_by_stage_is_the_whole_and_each_stage_is_a_place_to_stop(network: StagedNetwork) -> None:
    module = module_of(network).eval()
    steps = list(module.steps(images()))
    assert len(steps) == len(module.module.bodies)
    assert [stage for stage, (_, logits) in enumerate(steps, 1) if logits is not None] == [*network.predicting_stages]
    predicted = [logits for _, logits in steps if logits is not None]
    assert torch.equal(torch.stack(predicted), module(images()))
    assert [unit for unit, logits in steps if logits is not None] == [*range(1, network.predictions + 1)]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_each_parameter_belongs_to_one_head_or_one_part_of_the_trunk(network: StagedNetwork) -> None:
    module = module_of(network)
    numbers = range(1, network.predictions + 1)
    parts = [module.head_parameters(unit) for unit in numbers] + [module.unit_parameters(unit) for unit in numbers]
    names = [name for name, _ in module.named_parameters()]
    assert sorted(name for part in parts for name in part) == sorted(names)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_network_of_opt_begins_as_the_whole_and_has_one_head(network: StagedNetwork) -> None:
    whole = module_of(network).eval()
    for prediction in range(1, network.predictions + 1):
        alone = module_of(network, alone=prediction).eval()
        assert alone.predicting_units == (prediction,)
        assert torch.equal(alone(images())[0], whole(images())[prediction - 1])
        assert sum(parameter.numel() for parameter in alone.parameters()) == sum(
            parameter.numel()
            for name, parameter in whole.named_parameters()
            if name in whole.head_parameters(prediction)
            or any(name in whole.unit_parameters(unit) for unit in range(1, prediction + 1))
        )
        assert [logits is None for _, logits in alone.steps(images())][-1] is False


def test_costs_are_counted_or_as_they_are_given() -> None:
    pixel = 9 * CHANNELS
    chain = own_costs(Chain(), *DIGITS)
    stem, each = pixel * 64, pixel * CHANNELS * 64
    assert chain == (stem + 2 * each + 40, stem + 4 * each + 80)
    assert own_costs(Scales(), *DIGITS) == tuple(counted_costs(Scales(), *DIGITS))
    for network, prediction in ((Chain(), 2), (Scales(), 1), (Scales(), 2)):
        alone = network.up_to(prediction)
        assert isinstance(alone, UpTo)
        assert own_costs(alone, *DIGITS) == tuple(counted_costs(alone, *DIGITS))
    assert trial_costs(trial(Chain(), Opt(unit=2))) == [stem + 4 * each + 40]


@pytest.mark.parametrize("network", [Chain(), Scales()], ids=str)
def test_the_flow_of_gradients_is_scaled_at_the_branch(network: StagedNetwork) -> None:
    """The gradient of the first body is a sum of what each head sends: here with the factors of both ways."""

    def of_first_body(*, flow: list[tuple[float, float]], only: int | None = None) -> torch.Tensor:
        module = module_of(network)
        module.let_flow(flow)
        logits = module(images())
        (logits.sum() if only is None else logits[only].sum()).backward()
        return next(module.module.bodies[0].parameters()).grad

    plain = [(1.0, 1.0)] * 2
    first, last = of_first_body(flow=plain, only=0), of_first_body(flow=plain, only=1)
    both = of_first_body(flow=[(0.25, 0.5), (3.0, 1.0)])
    torch.testing.assert_close(both, 0.25 * first + 0.5 * 3.0 * last)


def trial(network: Any, regime: Any = None) -> TrialConfig:
    return digits_trial(regime, network=network, steps=12, batch_size=256)


@dataclass(frozen=True, kw_only=True)
class Halved(GradientFlow):
    def factors(self, costs):
        return [(0.5, 0.5)] * len(costs)


Halved.name, Halved.source = "halved", "h"
REGIMES = [Joint(), Opt(unit=1), Midfeat(), NoGrad(), NoGrad(variant="stop_gradient"), Joint(flow=Halved())]


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: f"{regime.name} {getattr(regime, 'variant', '')}")
@pytest.mark.parametrize("network", [Chain(), Scales()], ids=str)
def test_every_regime_trains_it_and_an_interruption_changes_no_bit(network, regime, tmp_path) -> None:
    config = trial(network, regime)
    assert lacking(network, regime, config.training) == []
    whole = train(config, checkpoints=tmp_path / "whole", device="cpu")

    def report(metrics: EpochMetrics) -> None:
        if metrics.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, report, tmp_path / "parts", device="cpu")
    assert train(config, checkpoints=tmp_path / "parts", device="cpu").errors == whole.errors
    assert network_hash(tmp_path / "parts") == network_hash(tmp_path / "whole")


@pytest.mark.parametrize("network", [Chain(), Scales()], ids=str)
def test_a_stop_is_overrun_by_no_more_than_a_stage(network, tmp_path) -> None:
    train(trial(network), checkpoints=tmp_path, device="cpu")
    trained = load_network(tmp_path)
    predictor, stop, ran = AnytimePredictor(trained), Event(), list[int]()
    for number, body in enumerate(trained.network.module.bodies, 1):
        body.register_forward_hook(lambda *_, number=number: ran.append(number))
    trained.network.module.bodies[0].register_forward_hook(lambda *_: stop.set())
    assert list(predictor.refine(torch.zeros(1, 1, 8, 8), stop=stop)) == []
    assert ran == [1]
    assert predictor.predict(torch.zeros(1, 1, 8, 8)).index == network.predictions - 1


@dataclass(frozen=True, kw_only=True)
class Wrong(StagedNetwork):
    said: tuple[int, ...] = (1,)
    made: tuple[bool, ...] = (False, True)

    @property
    def predicting_stages(self) -> tuple[int, ...]:
        return self.said

    def stages(self, classes: int, channels: int, size: int) -> list[tuple[nn.Module, nn.Module | None]]:
        return [(nn.Flatten(), nn.Linear(64, classes) if has_head else None) for has_head in self.made]


Wrong.name, Wrong.source = "wrong", "w"


@pytest.mark.parametrize(
    ("said", "made"), [((1,), (False, True)), ((1, 2), (False, True)), ((1,), (True, False)), ((), ())]
)
def test_heads_are_where_they_are_said_to_be(said, made) -> None:
    with pytest.raises(ExtensionError, match=r"those with a head are .*, must be predicting_stages"):
        Wrong(said=said, made=made).build(*DIGITS)


def test_a_field_may_not_hide_what_follows_from_the_stages() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Hides(StagedNetwork):
        trunk: int = 1  # type: ignore[assignment]

    with pytest.raises(ExtensionError, match="Hides has a field trunk, which is reserved"):
        register("hides")(Hides)


def test_build_network_begins_each_trial_with_its_seed() -> None:
    first, again, other = (build_network(digits_trial(network=Chain(), seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


class Mean(nn.Module):
    """Logits without parameters: means over bands of columns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x, (1, 10)).mean(1)[:, 0]


@dataclass(frozen=True, kw_only=True)
class Pools(StagedNetwork):
    """A stage without parameters, a head without any, and a body and a head that are used twice."""

    predicting_stages = (1, 3, 4)

    def stages(self, classes: int, channels: int, size: int) -> list[tuple[nn.Module, nn.Module | None]]:
        body, head = nn.Conv2d(4, 4, 3, padding=1), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head.append(nn.Linear(4, classes))
        return [(nn.Conv2d(channels, 4, 3, padding=1), Mean()), (nn.MaxPool2d(2), None), (body, head), (body, head)]


Pools.name, Pools.source = "pools", "p"


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: f"{regime.name} {getattr(regime, 'variant', '')}")
def test_stages_without_parameters_and_parts_that_are_shared_train_in_every_regime(regime) -> None:
    run = build_run(trial(Pools(), regime), load_images("digits", None), "cpu")
    while not run.ended:
        run.epoch()
    assert not run.diverged


@dataclass(frozen=True, kw_only=True)
class Odd(StagedNetwork):
    gives: str = "dict"
    predicting_stages = (2,)

    def stages(self, classes: int, channels: int, size: int) -> Any:
        if self.gives == "no pair":
            return [nn.Flatten(), (nn.Flatten(), nn.Linear(64, classes))]
        return [(Giving(self.gives), None), (nn.Flatten(), nn.Linear(64, classes))]


class Giving(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> Any:
        return {"dict": {"x": x}, "list": [x], "numbers": (1, 2), "nothing": ()}[self.kind]


Odd.name, Odd.source = "odd", "o"


@pytest.mark.parametrize(
    ("gives", "kind"), [("dict", "dict"), ("list", "list"), ("numbers", "tuple"), ("nothing", "tuple")]
)
def test_what_a_body_may_not_give_is_told(gives: str, kind: str) -> None:
    with pytest.raises(ExtensionError, match=f"the body of stage 1 gives a {kind}, must be a tensor or a tuple of"):
        module_of(Odd(gives=gives))(images())


def test_a_stage_that_is_no_pair_is_told() -> None:
    with pytest.raises(ExtensionError, match=r"stage 1 is Flatten.*, must be a body and a head or None"):
        module_of(Odd(gives="no pair"))


@dataclass(frozen=True, kw_only=True)
class Costly(Chain):
    def stage_costs(self, classes: int, channels: int, size: int) -> list[tuple[int, int]]:
        return [(1, 1)] * 2


def test_costs_are_of_each_stage() -> None:
    with pytest.raises(ExtensionError, match="stage_costs gives 2 pairs, must give 5, one for each stage"):
        own_costs(Costly(), *DIGITS)
