"""What trains and runs a network asks of it: anytime ResNets and networks of extensions have it alike.

Shapes: N images, C channels, S x S pixels, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class AnytimeModule(nn.Module):
    """A network of L predictions, at the units ``predicting_units``, 1-based and ascending. ``draws`` says whether it
    may use torch's own random numbers, as dropout does."""

    predicting_units: tuple[int, ...]
    classes: int
    channels: int
    draws: bool = False

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        """[N,C,S,S] -> logits [L,N,K], or of the predictions up to unit ``depth`` alone."""
        raise NotImplementedError

    def costs(self, size: int) -> tuple[int, ...]:
        """Multiply-adds of one image of ``size`` x ``size`` pixels up to each prediction."""
        raise NotImplementedError

    def let_flow(self, factors: Sequence[tuple[float, float]]) -> None:
        """Sets, for each prediction, the factors of the gradients that come back to its unit from its head and from the
        units after it."""
        raise NotImplementedError

    def head_parameters(self, unit: int) -> frozenset[str]:
        """The names of the parameters of the head of a unit that predicts."""
        raise NotImplementedError

    def unit_parameters(self, unit: int) -> frozenset[str]:
        """The names of the parameters of a unit; what lies before it belongs to it, what predicts from it does not."""
        raise NotImplementedError
