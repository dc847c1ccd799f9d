"""Random loss weighting, a control: is AANN's gain more than that of random weights? (Lin et al. 2021, arXiv
2111.10603)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from anytime_core.extend import State, Strategy, ours

if TYPE_CHECKING:
    from torch import Tensor


@ours("rlw", version="1")
@dataclass(frozen=True, kw_only=True)
class RandomWeights(Strategy):
    """w = L softmax(x), x drawn from N(0, I_L) anew in each step: [L]. On average each is 1."""

    noise: ClassVar[bool] = True

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None, "it is asked for"
        return base.sum() * noise.to(base.dtype).softmax(0)
