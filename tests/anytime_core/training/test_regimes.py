"""What a regime trains moves; what it does not train stays as it is, bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from trials import digits_trial

from anytime_core.config import (
    Joint,
    Midfeat,
    NoGrad,
    Opt,
    Regime,
    TrialConfig,
    WeightingConfig,
)
from anytime_core.data.dataset import Images
from anytime_core.model.network import AnytimeResNet
from anytime_core.training import regimes, trainer

CPU = torch.device("cpu")
STEPS = 7  # of one schedule: an epoch of 3 steps, another, and one step
State = dict[str, torch.Tensor]


def noise() -> Images:
    rng = np.random.default_rng(0)
    images = rng.integers(17, size=(130, 1, 8, 8), dtype=np.uint8)
    labels = rng.integers(10, size=130)
    return Images(
        train_images=images[:100], train_labels=labels[:100], test_images=images[100:], test_labels=labels[100:]
    )


def trial(regime: Regime, n: int = 2, period: int = 1) -> TrialConfig:
    return digits_trial(regime, n=n, period=period, steps=STEPS)


def run_of(config: TrialConfig) -> trainer.Run:
    return trainer.Run.start(config, noise(), CPU)


def state_of(run: trainer.Run) -> State:
    return {name: tensor.clone() for name, tensor in run.network.state_dict().items()}


def moved(before: State, after: State) -> set[str]:
    """Parameters and running averages that are not what they were; how many batches there were is of no matter."""
    return {name for name in before if not torch.equal(before[name], after[name]) and "num_batches" not in name}


def epochs_to_the_end_of_a_phase(run: trainer.Run) -> None:
    for _ in range(3):
        run.epoch()
    assert run.steps_done % STEPS == 0


def names(*units: int, heads: tuple[int, ...] = (), network: AnytimeResNet) -> set[str]:
    """All tensors of these units, written out by hand for n = 2, and of these heads."""
    found = set()
    for name in network.state_dict():
        place = name.split(".")
        if name.startswith("stem"):
            unit, is_head = 1, False
        elif place[2] == "transition":
            unit, is_head = 2 * int(place[1]) + 1, False
        elif place[2] == "units":
            unit, is_head = 2 * int(place[1]) + int(place[3]) + 1, False
        else:
            unit, is_head = 2 * int(place[1]) + int(place[4]) + 1, True
        if unit in (heads if is_head else units) and "num_batches" not in name:
            found.add(name)
    return found


def test_midfeat_trains_the_final_prediction_and_then_the_heads_alone() -> None:
    run = run_of(trial(Midfeat()))
    start = state_of(run)
    epochs_to_the_end_of_a_phase(run)
    middle = state_of(run)
    assert moved(start, middle) == names(1, 2, 3, 4, 5, 6, heads=(6,), network=run.network)
    epochs_to_the_end_of_a_phase(run)
    assert moved(middle, state_of(run)) == names(heads=(1, 2, 3, 4, 5), network=run.network)
    assert run.ended


def test_the_first_phase_of_midfeat_is_the_last_optimum() -> None:
    run, optimum = run_of(trial(Midfeat())), run_of(trial(Opt(unit=6)))
    epochs_to_the_end_of_a_phase(run)
    epochs_to_the_end_of_a_phase(optimum)
    assert run.history[-1].test_error[-1:] == optimum.history[-1].test_error
    assert run.history[-1].test_loss[-1:] == optimum.history[-1].test_loss


def test_heads_trained_at_once_are_each_as_if_trained_alone() -> None:
    together, alone = run_of(trial(Midfeat())), run_of(trial(Midfeat()))
    only = alone.network.head_parameters(2)
    alone.phases = (alone.phases[0], replace(alone.phases[1], trained=only, weights=(0.0, 1.0, 0.0, 0.0, 0.0, 0.0)))
    for run in (together, alone):
        epochs_to_the_end_of_a_phase(run)
        epochs_to_the_end_of_a_phase(run)
    for name in only:
        torch.testing.assert_close(state_of(together)[name], state_of(alone)[name], rtol=1e-5, atol=1e-6)


def test_no_grad_never_moves_what_it_has_trained() -> None:
    run = run_of(trial(NoGrad()))
    for unit in range(1, 7):
        before = state_of(run)
        epochs_to_the_end_of_a_phase(run)
        assert moved(before, state_of(run)) == names(unit, heads=(unit,), network=run.network)
    assert run.ended


def test_with_a_period_a_stage_trains_all_units_up_to_its_head() -> None:
    run = run_of(trial(NoGrad(), period=4))  # heads on units 2 and 6
    before = state_of(run)
    epochs_to_the_end_of_a_phase(run)
    units = {name for name in moved(before, state_of(run)) if "heads" not in name}
    assert units == names(1, 2, network=run.network)
    assert len(run.phases) == 2


def test_what_is_not_computed_yet_counts_as_a_guess() -> None:
    run = run_of(trial(NoGrad()))
    epochs_to_the_end_of_a_phase(run)
    metrics = run.history[-1]
    for errors, losses in ((metrics.train_error, metrics.train_loss), (metrics.test_error, metrics.test_loss)):
        assert errors[1:] == (90.0,) * 5
        assert losses[1:] == pytest.approx((math.log(10),) * 5)
        assert errors[0] != 90.0


def test_no_gradient_passes_between_isolated_units() -> None:
    """The gradient of prediction i reaches its own unit and head and nothing else."""
    network = AnytimeResNet(2, 4, 10, in_channels=1, isolated=True)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for unit in range(1, 7):
        network.zero_grad()
        (network(images)[unit - 1] ** 2).sum().backward()
        reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        own = {name for name in names(unit, heads=(unit,), network=network) if name in dict(network.named_parameters())}
        # What a batch norm adds before another normalisation has no effect, so its gradient is 0, or nearly.
        assert reached <= own
        assert {name for name in own if "heads" in name or "residual.4" in name} <= reached


@pytest.mark.parametrize("transition", ["convolution", "pooling"])
@pytest.mark.parametrize("period", [1, 2, 3, 4, 6])
def test_with_a_period_the_gradient_of_a_prediction_reaches_all_units_since_the_one_before(period, transition) -> None:
    units = range(6, 0, -period)[::-1]
    network = AnytimeResNet(2, 4, 10, period, 1, transition=transition, isolated=True)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for place, (before, unit) in enumerate(pairwise([0, *units])):
        network.zero_grad()
        (network(images)[place] ** 2).sum().backward()
        reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        convolutions = {name for name, p in network.named_parameters() if p.ndim == 4}
        own = set().union(*map(network.unit_parameters, range(before + 1, unit + 1)))
        assert reached & convolutions == own & convolutions
        assert reached - own == network.head_parameters(unit)


@pytest.mark.parametrize("period", [1, 2, 4])
def test_all_is_trained_where_gradients_are_stopped(period) -> None:
    """With no weight decay, which would move what has no gradient."""
    config = trial(NoGrad(variant="stop_gradient"), period=period)
    run = run_of(replace(config, training=replace(config.training, weight_decay=0.0)))
    before = state_of(run)
    epochs_to_the_end_of_a_phase(run)
    assert moved(before, state_of(run)) == {name for name in before if "num_batches" not in name}
    assert run.ended


def test_isolation_changes_no_prediction() -> None:
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    free, isolated = (AnytimeResNet(2, 4, 10, in_channels=1, isolated=flag).eval() for flag in (False, True))
    assert torch.equal(free(images), isolated(images))


@pytest.mark.parametrize("depth", range(1, 7))
def test_a_depth_gives_the_first_predictions_of_the_whole(depth: int) -> None:
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network = AnytimeResNet(2, 4, 10, in_channels=1).eval()
    torch.testing.assert_close(network(images, depth), network(images)[:depth])


@pytest.mark.parametrize(
    ("regime", "count"),
    [(Joint(), 1), (Opt(unit=2), 1), (Midfeat(), 2), (NoGrad(), 6), (NoGrad(variant="stop_gradient"), 1)],
)
def test_each_phase_has_the_whole_schedule(regime: Regime, count: int) -> None:
    config = trial(regime)
    run = run_of(config)
    while not run.ended:
        run.epoch()
    assert (config.phases, config.steps, len(run.phases)) == (count, count * STEPS, count)
    steps = [phase * STEPS + done for phase in range(count) for done in (3, 6, 7)]
    assert [metrics.step for metrics in run.history] == steps
    assert [metrics.learning_rate for metrics in run.history] == [0.1, 0.01, 0.01] * count
    assert run.result().state == "finished"


def test_midfeat_with_one_prediction_has_one_phase() -> None:
    run = run_of(trial(Midfeat(), n=1, period=3))
    assert len(run.phases) == run.config.phases == 1


def test_every_regime_has_its_phases() -> None:
    assert {*regimes.PHASES} == {Joint, Opt, Midfeat, NoGrad}


def test_weights_that_cannot_be_are_a_fault_of_the_config() -> None:
    with pytest.raises(trainer.ConfigError, match=r"opt\(9\): there are only predictions 1 to 6"):
        run_of(trial(Joint(weights=WeightingConfig(name="opt(9)"))))
