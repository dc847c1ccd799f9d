"""The module of an extension's network, as what trains and runs a network needs it.

Shapes: N images, C channels, S x S pixels, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from anytime_core.building import built, one_by_one, predicted
from anytime_core.cost import ending_at, own_costs
from anytime_core.extend import ExtensionError, Network
from anytime_core.model.interface import AnytimeModule

MODULE = "module."
"""Before the names of the parameters of the extension's own module."""


class OwnModule(AnytimeModule):
    """Each of its units predicts. With ``alone``, it is what ``up_to`` gives, and only that prediction is there."""

    draws = True

    def __init__(
        self, network: Network, classes: int, channels: int, size: int, *, alone: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.part = network if alone is None else ending_at(network, alone)
        self.alone = alone is not None
        self.predicting_units = network.predicting_units if alone is None else (alone,)
        self.classes, self.channels = classes, channels
        self.module = built(self.part, classes, channels, size, seed)

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        """[N,C,S,S] -> logits [L,N,K], or of the first ``depth`` predictions alone; in float32 at least."""
        count = self.part.predictions if self.alone or depth is None else depth
        given = self.module(x.contiguous())
        logits = given[:count] if isinstance(given, Tensor) else _stacked(islice(predicted(given), count))
        if logits.shape != (count, len(x), self.classes):
            raise ExtensionError(
                f"network {self.part.name} gives logits of shape {list(logits.shape)}, "
                f"must be {[count, len(x), self.classes]}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits[-1:] if self.alone else logits

    def steps(self, x: Tensor) -> Iterator[tuple[int, Tensor | None]]:
        """[N,C,S,S] -> the units and their logits [N,K], each computed once it is asked for."""
        last, number = self.part.predictions, 1
        for logits in one_by_one(self.module, x.contiguous()):
            alone_here = self.alone and number == last
            yield self.predicting_units[0] if alone_here else number, logits if alone_here or not self.alone else None
            number += logits is not None
            if number > last:
                return

    def costs(self, size: int) -> tuple[int, ...]:
        costs = own_costs(self.part, self.classes, self.channels, size)
        return costs[-1:] if self.alone else costs

    def let_flow(self, factors: Sequence[tuple[float, float]]) -> None:
        self.module.let_flow(factors)  # type: ignore[operator]

    def head_parameters(self, unit: int) -> frozenset[str]:
        return self._below("head", unit, self.part.head(unit))

    def unit_parameters(self, unit: int) -> frozenset[str]:
        return self._below("trunk", unit, self.part.trunk(unit))

    def _below(self, function: str, unit: int, given: Iterable[str]) -> frozenset[str]:
        """The parameters with these names, or of the modules with these names; a module may have none, or share them
        with others."""
        canonical = {id(parameter): name for name, parameter in self.named_parameters()}
        aliases = [*self.named_parameters(remove_duplicate=False)]
        modules = {name for name, _ in self.named_modules(remove_duplicate=False)}
        found: set[str] = set()
        for prefix in given:
            whole = f"{MODULE}{prefix}"
            own = {canonical[id(parameter)] for name, parameter in aliases if f"{name}.".startswith(f"{whole}.")}
            if not own and whole not in modules:
                raise ExtensionError(
                    f"network {self.part.name}: {function}({unit}) names {prefix}, must be a parameter or a module: "
                    f"{', '.join(name.removeprefix(MODULE) for name in canonical.values())}"
                )
            found |= own
        return frozenset(found)


def _stacked(given: Iterable[Tensor]) -> Tensor:
    return torch.stack([*given])
