"""Predicted bytes against what torch keeps for the backward pass, and against real parameters."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch

from anytime_core.config import (
    AnyNetwork,
    DataConfig,
    Joint,
    NetworkConfig,
    Opt,
    Regime,
    TrainingConfig,
    TrialConfig,
)
from anytime_core.data.catalog import DATASETS
from anytime_core.data.loader import EVALUATION_BATCH
from anytime_core.extend import ExtensionError, Network
from anytime_core.memory import (
    EVALUATED,
    data_memory,
    parameter_count,
    predicted_memory,
    saved_memory,
)
from anytime_core.model.network import build_network
from anytime_core.networks import Feedback, MSDNet
from anytime_core.training.evaluate import losses_of

CASES = [
    (NetworkConfig(n=1, c=16), Joint(), "cifar10"),
    (NetworkConfig(n=2, c=8), Joint(), "cifar100"),
    (NetworkConfig(n=2, c=8, transition="pooling"), Joint(), "cifar10"),
    (NetworkConfig(n=3, c=8, period=4), Joint(), "fashion_mnist"),
    (NetworkConfig(n=3, c=8), Opt(unit=4), "svhn"),
    (MSDNet(blocks=3, base=2, step=1, channels=8), Joint(), "cifar10"),
    (MSDNet(blocks=3, base=2, step=1, channels=8, prune="min", reduction=0), Joint(), "cifar100"),
    (MSDNet(blocks=3, base=2, step=2), Opt(unit=2), "svhn"),
    (Feedback(iterations=2, c=8), Joint(), "cifar10"),
    (Feedback(iterations=3, cells=1, c=8), Opt(unit=5), "fashion_mnist"),
]


def trial(network: AnyNetwork, regime: Regime, name: str, **training: object) -> TrialConfig:
    return TrialConfig(
        network=network,
        regime=regime,
        data=DataConfig(name=name),
        training=TrainingConfig(batch_size=16, **training),  # type: ignore[arg-type]
    )


def saved_by_torch(config: TrialConfig) -> int:
    """Bytes of the different tensors that autograd keeps, but for parameters."""
    network, spec = build_network(config), DATASETS[config.data.name]
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage  # held, so that no other comes to lie there
        return tensor

    images = torch.randn(16, spec.channels, spec.size, spec.size).contiguous(memory_format=torch.channels_last)
    low = config.training.precision == "bfloat16"
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False) if low else nullcontext():
            logits = network(images)
        losses_of(logits, torch.zeros(16, dtype=torch.int64))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("network", "regime", "name"), CASES)
def test_what_a_step_keeps_is_what_torch_keeps(network, regime, name, precision) -> None:
    config = trial(network, regime, name, precision=precision)
    again = isinstance(network, Feedback) and precision == "bfloat16"  # here weights are rounded for each run of a cell
    assert saved_memory(config) == pytest.approx(saved_by_torch(config), rel=0.1 if again else 0.02)


@pytest.mark.parametrize(("network", "regime", "name"), CASES)
def test_parameters_are_counted(network, regime, name) -> None:
    config = trial(network, regime, name)
    assert parameter_count(config) == sum(parameter.numel() for parameter in build_network(config).parameters())


def test_data_are_bytes_labels_and_draws() -> None:
    config = trial(NetworkConfig(n=1, c=1), Joint(), "cifar10")
    assert data_memory(config) == 60_000 * (3072 + 8) + 50_000 * 33


def test_the_peak_grows_with_what_is_computed_and_shrinks_with_precision() -> None:
    small, wide, deep = (trial(NetworkConfig(n=n, c=c), Joint(), "cifar10") for n, c in ((3, 16), (3, 64), (9, 16)))
    assert predicted_memory(small) < predicted_memory(deep) < predicted_memory(wide)
    low = trial(NetworkConfig(n=3, c=64), Joint(), "cifar10", precision="bfloat16")
    assert predicted_memory(low) < predicted_memory(wide)
    assert EVALUATED == EVALUATION_BATCH


@dataclass(frozen=True, kw_only=True)
class Unmeasured(Network):
    predictions: int = 1


Unmeasured.name, Unmeasured.source = "unmeasured", ""


def test_a_network_that_gives_no_footprint_has_unknown_memory_and_one_that_raises_is_named() -> None:
    assert predicted_memory(trial(Unmeasured(), Joint(), "cifar10")) == 0
    footprint = {"footprint": lambda *_: 1 // 0}
    broken = type("Broken", (Unmeasured,), footprint)
    with pytest.raises(ExtensionError, match=r"^network unmeasured: footprint raises ZeroDivisionError"):
        predicted_memory(trial(broken(), Joint(), "cifar10"))


def test_a_wider_msdnet_takes_more() -> None:
    small, wide = (trial(MSDNet(growth=growth), Joint(), "cifar10") for growth in (6, 12))
    assert 0 < predicted_memory(small) < predicted_memory(wide)
