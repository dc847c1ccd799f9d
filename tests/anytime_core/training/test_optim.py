"""Updates against the formulas, one parameter at a time."""

from __future__ import annotations

import pytest
import torch

from anytime_core.config import TrainingConfig
from anytime_core.model.network import AnytimeResNet
from anytime_core.training.optim import Sgd, decays

DECAYED = {"stem.weight", "transition.weight", "residual.1.weight", "residual.4.weight", "heads.weight.0"}
RATE = torch.tensor(0.25)


def network() -> AnytimeResNet:
    return AnytimeResNet(1, 2, 5, in_channels=1).double()


def gradients(of: AnytimeResNet, step: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(step)
    found = {}
    for name, parameter in of.named_parameters():
        parameter.grad = found[name] = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return found


def test_weights_decay_but_norms_and_biases_do_not() -> None:
    decayed = {name for name, parameter in network().named_parameters() if decays(parameter)}
    others = {name for name, _ in network().named_parameters()} - decayed
    assert {next(kind for kind in DECAYED if name.endswith(kind)) for name in decayed} == DECAYED
    kinds = ("residual.0.weight", "residual.2.weight", "residual.5.weight", "bias", "bias.0")
    assert all(name.endswith(kinds) for name in others)


def test_updates_are_the_formulas() -> None:
    """Momentum without damping or Nesterov: v = m v + g + d w, w = w - rate v."""
    config = TrainingConfig(learning_rate={0: 0.5, 2: 0.0625}, momentum=0.8, weight_decay=0.01)
    trained = network()
    optimiser = Sgd(trained, config, {})
    expected = {name: parameter.detach().clone() for name, parameter in trained.named_parameters()}
    velocity = {name: torch.zeros_like(parameter) for name, parameter in expected.items()}
    for step, rate in enumerate([0.5, 0.5, 0.0625, 0.0625]):
        for name, gradient in gradients(trained, step).items():
            decay = 0.01 if any(name.endswith(kind) for kind in DECAYED) else 0.0
            velocity[name] = 0.8 * velocity[name] + gradient + decay * expected[name]
            expected[name] = expected[name] - rate * velocity[name]
        optimiser.step(torch.tensor([config.rate_at(step)]))
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-12, atol=1e-14)
    for name, buffer in optimiser.buffers.items():
        torch.testing.assert_close(buffer, velocity[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_restored_optimiser_goes_on_to_the_same_bits(memory) -> None:
    config = TrainingConfig()
    first = network().to(memory_format=memory)
    optimiser = Sgd(first, config, {})
    gradients(first, 0)
    optimiser.step(RATE)
    second = network().to(memory_format=memory)
    second.load_state_dict(first.state_dict())
    other = Sgd(second, config, {})
    other.restore({name: torch.tensor(buffer.numpy().copy()) for name, buffer in optimiser.buffers.items()})
    for (name, buffer), parameter in zip(other.buffers.items(), second.parameters(), strict=True):
        assert buffer.stride() == parameter.stride(), name
    for trained, its_optimiser in ((first, optimiser), (second, other)):
        gradients(trained, 1)
        its_optimiser.step(RATE)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, dict(second.named_parameters())[name]), name


def test_momentum_begins_at_zero_for_what_is_trained_and_there_is_none_without_it() -> None:
    trained = network()
    trained.stem.requires_grad_(False)
    buffers = Sgd(trained, TrainingConfig(), {}).buffers
    assert buffers.keys() == {name for name, _ in trained.named_parameters()} - {"stem.weight"}
    assert not any(buffer.any() for buffer in buffers.values())
    assert not Sgd(trained, TrainingConfig(momentum=0), {}).buffers


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_updates_are_those_of_torchs_plain_loop(momentum) -> None:
    config = TrainingConfig(learning_rate={0: 0.25}, momentum=momentum, weight_decay=0.01)
    ours, plain = network(), network()
    optimiser = Sgd(ours, config, {})
    kinds = [(0.01, True), (0.0, False)]
    groups = [
        {"params": [one for one in plain.parameters() if decays(one) is kind], "weight_decay": decay}
        for decay, kind in kinds
    ]
    loop = torch.optim.SGD(groups, lr=0.25, momentum=momentum, foreach=False)
    for step in range(4):
        gradients(ours, step)
        optimiser.step(RATE)
        gradients(plain, step)
        loop.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, dict(plain.named_parameters())[name], rtol=1e-14, atol=1e-15)


def decays_of(trained: AnytimeResNet, config: TrainingConfig, loss_weights: dict[str, float]) -> dict[str, float]:
    """The weight decay of each parameter, from one step without a gradient at a rate of 1."""
    before = {name: parameter.detach().clone() for name, parameter in trained.named_parameters()}
    for parameter in trained.parameters():
        parameter.grad = torch.zeros_like(parameter)
        parameter.data.fill_(1.0)
    Sgd(trained, config, loss_weights).step(torch.tensor(1.0))
    found = {name: 1 - parameter.mean().item() for name, parameter in trained.named_parameters()}
    trained.load_state_dict(before, strict=False)
    return found


def test_heads_decay_by_the_weights_of_their_losses_where_told() -> None:
    trained, heads = (
        network(),
        {
            f"blocks.{i}.heads.{kind}.0": weight
            for i, weight in enumerate([0.5, 3.0, 0.0])
            for kind in ("weight", "bias")
        },
    )
    options = {"learning_rate": {0: 1.0}, "weight_decay": 0.01}
    uniform = decays_of(trained, TrainingConfig(**options), heads)
    weighed = decays_of(trained, TrainingConfig(head_decay="loss_weight", **options), heads)
    for name, parameter in trained.named_parameters():
        expected = 0.01 if decays(parameter) else 0.0
        assert uniform[name] == pytest.approx(expected, abs=1e-12), name
        assert weighed[name] == pytest.approx(expected * heads.get(name, 1.0), abs=1e-12), name
