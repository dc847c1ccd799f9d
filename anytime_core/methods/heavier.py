"""ANN with larger weights, a control: AANN's weights of a step come to 1.5 times those of ANN, which acts like a larger
learning rate. Is its gain more than that?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, within
from anytime_core.extend import State, Strategy, ours

if TYPE_CHECKING:
    from torch import Tensor


@ours("heavier", version="1")
@dataclass(frozen=True, kw_only=True)
class Heavier(Strategy):
    """The base weights [L] times a ``factor``, by default what AANN with a gamma of 0.5 adds up to."""

    factor: float = 1.5

    def __post_init__(self) -> None:
        refuse(within("factor", self.factor, 0))

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return self.factor * base
