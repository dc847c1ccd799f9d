"""Our networks beside the ResNet in the trainer: each regime and strategy, same bits after an interruption, nothing
read from the device, and stops between any two stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from emulated_graph import EmulatedGraph
from plain_layers import disturbed
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functional_call
from trials import digits_trial

from anytime_core import AnytimePredictor, load_network
from anytime_core.building import built
from anytime_core.config import (
    KINDS,
    STRATEGIES,
    Absent,
    Joint,
    Midfeat,
    NoGrad,
    Opt,
    TrialConfig,
    from_dict,
    known_parts,
    to_dict,
)
from anytime_core.cost import trial_costs
from anytime_core.data.dataset import Images
from anytime_core.errors import CheckpointError, ConfigError
from anytime_core.extend import ExtensionError, GradientFlow, Network, register
from anytime_core.model import graphs
from anytime_core.model.network import build_network
from anytime_core.model.own import OwnModule
from anytime_core.networks import Feedback, MSDNet
from anytime_core.training import checkpoint, trainer
from anytime_core.training.trainer import build_run, train

CPU = torch.device("cpu")
NETWORKS = [
    MSDNet(
        blocks=2,
        base=1,
        step=1,
        channels=2,
        growth=2,
        growth_factors=(1, 2),
        bottleneck_factors=(1, 2),
        head_channels=4,
    ),
    Feedback(iterations=2, c=2),
]
REGIMES = [Joint(), Opt(unit=2), Midfeat(), NoGrad(), NoGrad(variant="stop_gradient")]
rng = np.random.default_rng(0)
PIXELS, LABELS = rng.integers(17, size=(2, 100, 1, 8, 8), dtype=np.uint8), rng.integers(10, size=(2, 100))
IMAGES = Images(train_images=PIXELS[0], train_labels=LABELS[0], test_images=PIXELS[1], test_labels=LABELS[1])

each_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)


def trial(network: Network, regime: Any = None, **changes: Any) -> TrialConfig:
    """Three steps an epoch, three epochs and one step."""
    return digits_trial(regime or Joint(), network=network, **changes)


def state(folder: Path) -> Mapping[str, bytes]:
    saved = checkpoint.latest(folder)
    assert saved is not None
    return {name: array.tobytes() for name, array in saved.arrays.items()}


# Identity


@each_network
def test_a_config_comes_back_from_json_with_a_version_in_place_of_a_hash(network: Network) -> None:
    config = trial(network)
    written = to_dict(config)
    assert (written["network"]["name"], written["network"]["source"]) == (network.name, "1")
    assert from_dict(written) == config
    before = {**written, "network": {**written["network"], "source": "0"}}
    read = from_dict(before)
    assert isinstance(read.network, Absent)
    assert to_dict(read) == before
    with pytest.raises(ConfigError, match=f"network {network.name} of version 0 is not that of this package any more"):
        build_network(read)


@pytest.mark.parametrize("name", ["msdnet", "feedback"])
def test_no_extension_takes_their_names(name: str) -> None:
    with pytest.raises(ExtensionError, match=f"^network {name} is one of ours; give it another name"):
        register(name)(type(NETWORKS[0]))
    assert name not in KINDS["network"]
    assert known_parts("network")[name].source == "1"


@each_network
def test_initial_weights_come_from_the_seed_alone(network: Network) -> None:
    first, again, other = ([*build_network(trial(network, seed=seed)).parameters()] for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])
    shorter = build_network(trial(network, Opt(unit=1))).state_dict()
    whole = build_network(trial(network)).state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in shorter.items() if "bodies" in name)


# Gradients


@each_network
def test_gradients_are_those_of_finite_differences(network: Network) -> None:
    module = disturbed(built(network, 3, 1, 5))
    images = torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]

    def logits(*values: torch.Tensor) -> torch.Tensor:
        found = functional_call(module, dict(zip(names, values, strict=True)), (images,))
        return torch.stack([each for each in found if each is not None])

    values = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    assert torch.autograd.gradcheck(logits, values, fast_mode=True)


# Training


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("strategy", STRATEGIES)
@each_network
def test_a_run_killed_after_every_epoch_gives_the_same_bits(network: Network, strategy: str, tmp_path: Path) -> None:
    config = trial(network, Joint(strategy=STRATEGIES[strategy]()))
    whole = train(config, checkpoints=tmp_path / "whole", images=IMAGES)
    for epoch in range(1, 5):

        def report(metrics: Any, last: int = epoch) -> None:
            if metrics.epoch == last:
                raise _KilledError

        try:
            again = train(config, report, tmp_path / "killed", images=IMAGES)
        except _KilledError:
            again = train(config, checkpoints=tmp_path / "killed", images=IMAGES) if epoch == 4 else whole
    assert again.errors == whole.errors
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: getattr(regime, "variant", regime.name))
@each_network
def test_each_regime_trains_and_a_checkpoint_gives_the_network_back(
    network: Network, regime: Any, tmp_path: Path
) -> None:
    config = trial(network, regime, steps=3)
    result = train(config, checkpoints=tmp_path, images=IMAGES)
    assert result.units == config.predicting_units
    assert list(result.costs) == trial_costs(config)
    loaded, pixels = load_network(tmp_path), torch.tensor(PIXELS[1][:3])
    answers = [*AnytimePredictor(loaded).refine(pixels)]
    torch.testing.assert_close(torch.stack([it.probabilities for it in answers]), loaded(pixels).softmax(2))


@each_network
def test_what_a_phase_does_not_train_holds_no_gradient(network: Network) -> None:
    for regime in (Midfeat(), NoGrad()):
        run = build_run(trial(network, regime), IMAGES, "cpu")
        for number, phase in enumerate(run.phases):
            run.enter(number)
            run.begin_epoch()
            run.step()
            assert {name for name, it in run.network.named_parameters() if it.grad is not None} <= phase.trained


class _Halves(GradientFlow):
    def factors(self, costs: Any) -> list[tuple[float, float]]:
        return [(1.0, 0.5) for _ in costs]


_Halves.name, _Halves.source = "halves", ""


@each_network
def test_gradient_flow_reaches_all_that_is_behind_a_prediction(network: Network) -> None:
    """Half as much comes back at the first prediction, to what lies before it."""
    gradients = []
    for flow in (None, _Halves()):
        module = build_run(trial(network, Joint(flow=flow)), IMAGES, "cpu").network.double()
        images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        module.module(images)  # type: ignore[operator]
        last = [it for it in module.module(images) if it is not None][1]  # type: ignore[operator]
        last.sum().backward()
        gradients.append(next(module.parameters()).grad)
    torch.testing.assert_close(gradients[1], gradients[0] / 2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: getattr(regime, "variant", regime.name))
@each_network
def test_steps_and_evaluation_wait_for_no_device(network, regime, precision, monkeypatch) -> None:
    """With fake tensors, which have no content to read, in every phase."""
    monkeypatch.setattr(OwnModule, "to", lambda module, *_, **__: module)  # torch cannot convert fake parameters
    config = trial(network, regime)
    config = replace(config, training=replace(config.training, precision=precision))
    trial_costs(config)  # by closed form, before there is nothing to count
    with FakeTensorMode(allow_non_fake_inputs=True):
        run = trainer.Run.start(config, IMAGES, CPU)
        for number in range(len(run.phases)):
            run.enter(number)
            run.begin_epoch()
            run.step()
            with torch.no_grad():
                run.evaluate.eager()
            with pytest.raises(DataDependentOutputException):
                run.read()


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(graphs, "Graph", EmulatedGraph)
    monkeypatch.setattr(trainer, "mode_on", lambda device, mode: mode)
    return


@pytest.mark.parametrize("regime", [Joint(), Midfeat()], ids=lambda regime: regime.name)
@each_network
def test_calls_made_again_as_a_graph_makes_them_give_the_same_bits(network, regime, tmp_path, emulated) -> None:
    config = trial(network, regime, steps=5)
    for mode in ("eager", "graph"):
        train(config, checkpoints=tmp_path / mode, images=IMAGES, mode=mode)
    assert state(tmp_path / "graph") == state(tmp_path / "eager")


# Answers


@each_network
def test_it_stops_between_stages_once_the_budget_is_spent(network: Any, tmp_path: Path) -> None:
    train(trial(network, steps=3), checkpoints=tmp_path, images=IMAGES)
    loaded = load_network(tmp_path)
    predictor, seen = AnytimePredictor(loaded), []
    for index, body in enumerate(loaded.network.module.bodies):  # type: ignore[union-attr,arg-type]
        body.register_forward_hook(lambda *_, index=index: seen.append(index))
    costs = predictor.costs(8)
    answer = predictor.predict(PIXELS[1][0], budget=costs[0] / costs[-1])
    assert (answer.index, answer.cost) == (0, costs[0])
    assert len(seen) < len(network.stage_costs(10, 1, 8))
    steps = [unit for unit, logits in loaded.network.steps(torch.zeros(1, 1, 8, 8)) if logits is None]  # type: ignore[operator]
    assert len(steps) == len(network.stage_costs(10, 1, 8)) - network.predictions


@each_network
def test_a_checkpoint_of_too_few_numbers_is_refused_before_there_is_room_for_more(network: Any, tmp_path: Path) -> None:
    train(trial(network, steps=3), checkpoints=tmp_path, images=IMAGES)
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    wide = {"channels": 4096} if isinstance(network, MSDNet) else {"c": 4096}
    saved.meta["config"]["network"] |= wide
    checkpoint.save(tmp_path, 4, saved)
    with pytest.raises(CheckpointError, match=rf"numbers are no network {network.name}"):
        load_network(tmp_path)
