"""Builds networks of extensions, runs them one prediction after the other, and counts what each of these costs.

Shapes: N images, C channels, S x S pixels, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from anytime_core.extend import ExtensionError, Network
from anytime_core.randomness import generator

FLOPS = 2
"""Of a multiply-add."""


def seed_torch(device: torch.device, seed: int, *purpose: object) -> None:
    """What torch draws by itself on the device from here on, as for dropout, begins with the generator of this
    purpose."""
    begin = generator(seed, *purpose).initial_seed()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(begin)
    else:
        torch.default_generator.manual_seed(begin)


def built(network: Network, classes: int, channels: int, size: int, seed: int = 0) -> nn.Module:
    """A new module of an extension's network. torch's own draws, as of its layers' initial weights, come from
    ``seed``."""
    with torch.random.fork_rng(devices=[]):
        seed_torch(torch.device("cpu"), seed, "init")
        module = network.build(classes, channels, size)
    if not isinstance(module, nn.Module):
        raise ExtensionError(f"network {network.name}: build gives a {type(module).__name__}, must be a torch module")
    return module


def one_by_one(module: nn.Module, images: Tensor) -> Iterator[Tensor | None]:
    """normalised images [N,C,S,S] -> the logits [N,K] of each prediction, no sooner computed than asked for, if the
    module yields them; None wherever it may be interrupted before the next one is there."""
    refine = getattr(module, "refine", module)
    return iter(refine(images))


def predicted(given: Iterable[Tensor | None]) -> Iterator[Tensor]:
    """The logits alone."""
    return (logits for logits in given if logits is not None)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts as torch's own counter of floating-point operations, which imports the compiler: 4 seconds."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else the first operation imports the compiler too, only to keep it away."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def counted_costs(network: Network, classes: int, channels: int, size: int) -> list[int]:
    """Multiply-adds of one image up to each prediction, of convolutions, products of matrices and attention. Raises
    ExtensionError for a network that does not run, or gives no such predictions."""
    # With gradients and by products of matrices: else torch runs attention in calls that nothing here can count.
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        try:
            module = built(network, classes, channels, size).eval()
            with _Counter() as counter:
                given = predicted(one_by_one(module, torch.zeros(1, channels, size, size)))
                found = [(tuple(logits.shape), counter.flops // FLOPS) for logits in given]
        except (Exception, SystemExit) as error:  # an extension may raise anything
            what = f"{type(error).__name__}: {error}"
            raise ExtensionError(
                f"network {network.name} does not run on an image [{channels},{size},{size}]: {what}"
            ) from error
    expected = [(1, classes)] * network.predictions
    if [shape for shape, _ in found] != expected:
        shapes = ", ".join(str(list(shape)) for shape, _ in found)
        raise ExtensionError(
            f"network {network.name} gives predictions of shapes {shapes} of one image, "
            f"must be {network.predictions} of [1, {classes}]"
        )
    return [cost for _, cost in found]
