"""The network against section 4.1 and against a plain one that is written out unit by unit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from anytime_core.model.network import AnytimeResNet, Heads, Unit, pooled_relu

State = dict[str, Tensor]


def images(count: int, channels: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def disturbed(network: AnytimeResNet) -> AnytimeResNet:
    """In float64, with biases, scales and running averages that are not all 0 or 1."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.double().state_dict().items():
            if tensor.ndim and tensor.is_floating_point() and "weight" not in name:
                tensor.add_(torch.rand(tensor.shape, generator=draws, dtype=tensor.dtype))
            elif tensor.ndim == 1 and tensor.is_floating_point():
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=draws, dtype=tensor.dtype))
    return network


def plain_norm(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    """Batch norm as its paper defines it: the batch's own moments in training, the running ones otherwise."""
    mean = x.mean((0, 2, 3)) if training else state[f"{name}.running_mean"]
    var = x.var((0, 2, 3), unbiased=False) if training else state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / torch.sqrt(var + 1e-5)
    return x * scale[:, None, None] + (state[f"{name}.bias"] - mean * scale)[:, None, None]


def plain_forward(state: State, x: Tensor, n: int, predicting: list[int], training: bool) -> list[Tensor]:
    """Logits [N,K] of each prediction, one unit and one linear layer at a time."""
    logits = []
    x = functional.conv2d(x, state["stem.weight"], padding=1)
    for unit in range(1, predicting[-1] + 1):
        block, local = divmod(unit - 1, n)
        if block and not local:
            x = functional.conv2d(x, state[f"blocks.{block}.transition.weight"], padding=1, stride=2)
        name = f"blocks.{block}.units.{local}.residual"
        y = plain_norm(x, state, f"{name}.0", training)
        y = functional.conv2d(y, state[f"{name}.1.weight"], padding=1)
        y = torch.clamp(plain_norm(y, state, f"{name}.2", training), min=0)
        y = functional.conv2d(y, state[f"{name}.4.weight"], padding=1)
        x = x + plain_norm(y, state, f"{name}.5", training)
        if unit in predicting:
            before = sum(1 for other in predicting if (other - 1) // n == block and other < unit)
            head = f"blocks.{block}.heads"
            weight, bias = state[f"{head}.weight.{before}"], state[f"{head}.bias.{before}"]
            pooled = torch.clamp(x, min=0).flatten(2).mean(2)
            logits.append(pooled @ weight + bias)
    return logits


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("n", "predicting", "channels", "size"),
    [
        (1, [1, 2, 3], 3, 8),
        (2, [1, 2, 3, 4, 5, 6], 1, 8),
        (2, [2, 6], 3, 9),
        (3, [4], 2, 5),
        (3, [1, 3, 5, 7, 9], 3, 6),
    ],
)
def test_the_network_is_the_plain_one(n, predicting, channels, size, training) -> None:
    network = disturbed(AnytimeResNet(n, 4, 5, in_channels=channels, predicting_units=predicting))
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = images(3, channels, size)
    found = network.train(training)(x)
    expected = torch.stack(plain_forward(state, x, n, predicting, training))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_its_gradients_are_those_of_the_plain_one() -> None:
    network = disturbed(AnytimeResNet(2, 3, 5, in_channels=1))
    parameters = dict(network.named_parameters())
    x, weights = images(3, 1, 8), torch.tensor([3, 1, 2, 1, 2, 9.0], dtype=torch.float64)
    found = torch.autograd.grad((weights[:, None, None] * network(x) ** 2).sum(), list(parameters.values()))
    plain = torch.stack(plain_forward(parameters, x, 2, [1, 2, 3, 4, 5, 6], training=True))
    expected = torch.autograd.grad((weights[:, None, None] * plain**2).sum(), list(parameters.values()))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_running_averages_move_by_a_tenth() -> None:
    network = AnytimeResNet(1, 4, 5).double().train()
    x = images(6, 3, 8)
    network(x)
    first = network.blocks[0].units[0].residual[0]
    stem = functional.conv2d(x, network.stem.weight, padding=1)
    torch.testing.assert_close(first.running_mean, 0.1 * stem.mean((0, 2, 3)))
    torch.testing.assert_close(first.running_var, 0.9 + 0.1 * stem.var((0, 2, 3), unbiased=True))


def test_batched_heads_are_the_single_ones() -> None:
    heads = Heads(7, 16, 10).double()
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    pooled = torch.randn(7, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    single = [pooled[head] @ heads.weight[head] + heads.bias[head] for head in range(7)]
    torch.testing.assert_close(heads(pooled), torch.stack(single), rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_pooled_relu_is_the_mean_of_what_is_above_0_and_its_gradient_torchs_own(memory) -> None:
    x = images(3, 4, 5).contiguous(memory_format=memory)
    x[0, 0, 0, 0] = 0
    ours, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = pooled_relu(ours), torch.relu(plain).mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    weights = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-15, atol=0)
    assert ours.grad is not None
    assert ours.grad.stride() == x.stride()
    moved = torch.where(x < 0, x - 0.1, x + 0.1).requires_grad_()  # away from 0, where there is no derivative
    assert torch.autograd.gradcheck(pooled_relu, moved)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_there_are_6n_plus_3_convolutions(n) -> None:
    network = AnytimeResNet(n, 2, 10)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 6 * n + 3
    assert all(module.kernel_size == (3, 3) and module.bias is None for module in convolutions)
    strided = [module for module in convolutions if module.stride == (2, 2)]
    assert [(module.in_channels, module.out_channels) for module in strided] == [(2, 4), (4, 8)]


@pytest.mark.parametrize(
    ("n", "period", "predictions"), [(1, 1, 3), (1, 3, 1), (2, 1, 6), (2, 4, 2), (3, 2, 5), (5, 10, 2), (2, 5, 2)]
)
def test_logits_are_predictions_by_images_by_classes(n, period, predictions) -> None:
    network = AnytimeResNet(n, 2, 7, period)
    assert network(images(4, 3, 8, torch.float32)).shape == (predictions, 4, 7)


@pytest.mark.parametrize("units", [(), (0, 1), (1, 7), (2, 1), (1, 1)])
def test_predictions_from_no_unit_are_refused(units) -> None:
    with pytest.raises(ValueError, match="must be ascending units from 1 to 6"):
        AnytimeResNet(2, 4, 10, predicting_units=units)


# Parameters at the start


def start_of(name: str, full: State, n: int, unit: int) -> Tensor | None:
    """The tensor of the full network that an optimum's tensor of that name must equal."""
    block, local = divmod(unit - 1, n)
    if name.startswith(f"blocks.{block}.heads"):
        assert name.endswith(".0")  # the only head there is
        return full[f"{name.removesuffix('.0')}.{local}"]
    return full[name]


@pytest.mark.parametrize("unit", range(1, 7))
def test_an_optimum_starts_as_the_full_network_does(unit) -> None:
    full = AnytimeResNet(2, 4, 10, seed=5).state_dict()
    optimum = AnytimeResNet(2, 4, 10, predicting_units=[unit], seed=5).state_dict()
    for name, tensor in optimum.items():
        assert torch.equal(tensor, start_of(name, full, 2, unit)), name
    assert sum("units" in name and name.endswith("residual.1.weight") for name in optimum) == unit


def test_a_period_does_not_change_the_start() -> None:
    full, sparse = AnytimeResNet(2, 4, 10, seed=5), AnytimeResNet(2, 4, 10, 2, seed=5)
    for name, tensor in sparse.state_dict().items():
        if "heads" not in name:
            assert torch.equal(tensor, full.state_dict()[name]), name
    heads = torch.cat([block.heads.weight[0].flatten() for block in sparse.blocks])
    assert torch.equal(heads, torch.cat([block.heads.weight[1].flatten() for block in full.blocks]))


def assert_drawn(weight: Tensor, std: float) -> None:
    """Mean 0 and the deviation asked for, within 5 standard errors of each."""
    count = weight.numel()
    assert abs(weight.mean().item()) < 5 * std / math.sqrt(count)
    assert abs(weight.std().item() - std) < 5 * std / math.sqrt(2 * count)


def test_weights_are_drawn_as_the_paper_says() -> None:
    network = AnytimeResNet(3, 16, 10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert_drawn(module.weight, math.sqrt(2 / (9 * module.out_channels)))
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))
            assert (module.momentum, module.eps) == (0.1, 1e-5)
        if isinstance(module, Heads):
            assert all(assert_drawn(weight, math.sqrt(2 / len(weight))) is None for weight in module.weight)
            assert not any(bias.any() for bias in module.bias)


def test_no_two_tensors_share_their_draws() -> None:
    network = AnytimeResNet(3, 4, 10)
    drawn = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    drawn += [weight for module in network.modules() if isinstance(module, Heads) for weight in module.weight]
    # Scaled to deviation 1, as layers of one shape and name would otherwise differ by their scale alone.
    starts = {tuple((tensor.flatten()[:4] / tensor.std()).tolist()) for tensor in drawn}
    assert len(starts) == len(drawn)


def test_a_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = (AnytimeResNet(2, 4, 10, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if "residual.1" in name or "heads.weight" in name or "stem" in name]
    assert len(drawn) == 6 + 6 + 1
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


# The transition of the authors' code


@pytest.mark.parametrize("n", [1, 2, 5])
def test_with_pooling_there_are_6n_plus_1_convolutions(n) -> None:
    network = AnytimeResNet(n, 4, 10, transition="pooling")
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 6 * n + 1


@pytest.mark.parametrize("size", [8, 9])
def test_the_unit_that_shrinks_adds_averages_among_zeros(size) -> None:
    unit = Unit(8, shrinks=True).double()
    with torch.no_grad():
        unit.residual[5].weight.zero_()  # leaves nothing of the residual
    x = images(2, 4, size)
    found = unit(x)
    side = -(-size // 2)
    expected = torch.zeros(2, 8, side, side, dtype=torch.float64)
    for row in range(side):
        for column in range(side):
            window = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected[:, 2:6, row, column] = window.mean((2, 3))
    torch.testing.assert_close(found, expected)


def test_pooling_gives_predictions_of_the_same_shape() -> None:
    network = AnytimeResNet(2, 4, 10, transition="pooling")
    assert network(images(3, 3, 16).float()).shape == (6, 3, 10)
    with pytest.raises(ValueError, match="transition is 'stride', must be one of"):
        AnytimeResNet(2, 4, 10, transition="stride")
