"""Measures how the gradients of a network's predictions lie to each other, for strategies that go by that.

Shapes: L predictions, in G groups of equal shares of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from anytime_core.extend import Surgery
from anytime_core.randomness import generator
from anytime_core.training import checked
from anytime_core.training.selection import Selection


class Surgeon:
    """Of the ``trunk``, the parameters that predictions share. ``costs`` [L] are those up to each prediction."""

    def __init__(self, surgery: Surgery, selection: Selection, trunk: Sequence[Tensor], costs: Sequence[int]) -> None:
        self.surgery, self.selection, self.trunk = surgery, selection, list(trunk)
        self.members = torch.zeros(surgery.groups, len(selection.base), device=selection.base.device)
        for index, group in enumerate(groups(costs[: len(selection.base)], surgery.groups)):
            self.members[group, index] = 1
        self._draws = torch.zeros(0)
        self._steps = 0

    def begin(self, seed: int, epoch: int, steps: int) -> None:
        count, size = -(-steps // self.surgery.every), self.surgery.groups
        draws = torch.randn(count, size, size, generator=generator(seed, "surgery", epoch))
        self._draws, self._steps = draws.to(self.members.device), 0

    def due(self) -> bool:
        """Whether the step to come, which is counted by this, begins with a measurement."""
        self._steps += 1
        return (self._steps - 1) % self.surgery.every == 0

    def measure(self, objective: Callable[[], Tensor]) -> None:
        """Sets the factors of the steps to come. ``objective`` computes what is differentiated [L], of the step."""
        losses, base = objective(), self.selection.base
        rows = [self._gradient(losses, base * members) for members in self.members]
        products = torch.stack([torch.stack([row @ other for other in rows]) for row in rows])
        draws = self._draws[(self._steps - 1) // self.surgery.every]
        given = self.surgery.combine(products, draws)
        factors = checked.shaped(self.surgery, "combine", given, (self.surgery.groups,))
        self.selection.state["factors"].copy_(factors @ self.members)

    def _gradient(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Of the sum of these losses, as one long vector."""
        found = torch.autograd.grad(losses, self.trunk, weights, retain_graph=True, allow_unused=True)
        pairs = zip(found, self.trunk, strict=True)
        return torch.cat([(torch.zeros_like(of) if one is None else one).flatten() for one, of in pairs])


def groups(costs: Sequence[int], count: int) -> list[int]:
    """The group of each prediction, counted from 0: the first has those of up to 1 / ``count`` of the whole cost."""
    return [-(-cost * count // costs[-1]) - 1 for cost in costs]
