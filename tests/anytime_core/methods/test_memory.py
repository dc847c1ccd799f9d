"""What a step of each method holds at its peak, as predicted, against the bytes that are alive from call to call."""

from __future__ import annotations

import numpy as np
import pytest
from live_bytes import LiveBytes

from anytime_core import methods
from anytime_core.config import AnyNetwork, DataConfig, Joint, NetworkConfig, Part, TrainingConfig, TrialConfig
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images
from anytime_core.extend import Regime
from anytime_core.memory import predicted_memory, step_memory
from anytime_core.methods import CAGrad, Distillation, PCGrad
from anytime_core.networks import Feedback, MSDNet
from anytime_core.training.trainer import build_run

BATCH = 8
NETWORKS = [NetworkConfig(n=2, c=4), MSDNet(blocks=3, base=2, step=1, channels=8)]
ALL: list[type[Part]] = [getattr(methods, name) for name in methods.__all__]
PARTS = [*(kind() for kind in ALL), PCGrad(groups=8, every=1), Distillation(teacher="later")]


def trial(network: AnyNetwork, part: Part, **training: object) -> TrialConfig:
    regime = part if isinstance(part, Regime) else Joint(**{part.kind: part})  # type: ignore[arg-type]
    options = TrainingConfig(batch_size=BATCH, steps=40, **training)  # type: ignore[arg-type]
    return TrialConfig(network=network, regime=regime, data=DataConfig(name="cifar100"), training=options)


def images(count: int) -> Images:
    draws, spec = np.random.default_rng(0), DATASETS["cifar100"]
    drawn = draws.integers(0, 256, (count, spec.channels, spec.size, spec.size), dtype=np.uint8)
    labels = draws.integers(spec.classes, size=count)
    return Images(train_images=drawn, train_labels=labels, test_images=drawn[:1], test_labels=labels[:1])


def peak(config: TrialConfig) -> int:
    """Of an epoch's first step, which measures gradients where a method does."""
    run = build_run(config, images(2 * BATCH), "cpu")
    run.begin_epoch()
    with LiveBytes() as live:
        run.step()
    return live.peak


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind} {part.name}")
@pytest.mark.parametrize("network", NETWORKS, ids=["resnet", "msdnet"])
def test_a_step_of_each_method_holds_what_is_predicted(network: AnyNetwork, part: Part) -> None:
    config = trial(network, part)
    assert step_memory(config) == pytest.approx(peak(config), rel=0.1)


@pytest.mark.parametrize("part", [Distillation(), CAGrad()], ids=lambda part: part.name)
def test_neither_narrow_networks_nor_low_precision_or_recurrence_change_that(part: Part) -> None:
    narrow, recurrent = trial(NetworkConfig(n=2, c=1), part), trial(Feedback(iterations=2, c=8), part)
    low = trial(NetworkConfig(n=2, c=4), part, precision="bfloat16")
    for config in (narrow, recurrent, low):
        assert step_memory(config) == pytest.approx(peak(config), rel=0.1)


def test_gradient_surgery_takes_as_much_more_as_its_groups_and_shared_parameters_say() -> None:
    """Not the heads': they have no gradients of others."""
    few, many = (predicted_memory(trial(NETWORKS[1], PCGrad(groups=groups))) for groups in (2, 6))
    network = build_run(trial(NETWORKS[1], PCGrad()), images(2 * BATCH), "cpu").network
    heads = frozenset().union(*map(network.head_parameters, network.predicting_units))
    shared = sum(value.numel() for name, value in network.named_parameters() if name not in heads)
    assert many - few == 4 * 4 * shared
