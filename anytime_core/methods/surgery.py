"""Gradient surgery: what is subtracted, or sought, where the gradients of predictions are in each other's way.

Both go by the products M [G,G] of the gradients of G groups of predictions, quarters of the cost by default, and not of
all L predictions, which would take L backward passes; and measure them every tenth step. Heads, each of which serves
one prediction, follow the weight of their group.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, whole, within
from anytime_core.extend import Surgery, ours

if TYPE_CHECKING:
    from torch import Tensor

MOST_GROUPS = 8
TINY = 1e-12
SLACK = 1e-9
"""By how much less than 0 a share may be, for rounding."""


def _sizes(surgery: Surgery) -> list[str | None]:
    too_many = isinstance(surgery.groups, int) and surgery.groups > MOST_GROUPS
    return [
        whole("groups", surgery.groups, 2),
        f"groups is {surgery.groups}, must be at most {MOST_GROUPS}" if too_many else None,
        whole("every", surgery.every, 1),
    ]


def _identity(like: Tensor) -> Tensor:
    return like.new_zeros(like.shape).fill_diagonal_(1)


@ours("pcgrad", version="1")
@dataclass(frozen=True, kw_only=True)
class PCGrad(Surgery):
    """Projecting conflicting gradients (Yu et al., NeurIPS 2020, arXiv 2001.06782).

    Of each group's gradient, what opposes another's is taken away, one after the other in a random order: for c = e_i
    and each j but i, where (M c)_j < 0, c_j <- c_j - (M c)_j / M_jj. The factors are the sum of all c. Without a
    conflict they are 1, which is ANN.
    """

    def __post_init__(self) -> None:
        refuse(*_sizes(self))

    def combine(self, products: Tensor, draws: Tensor) -> Tensor:
        own = _identity(products)
        combined, order = own.clone(), draws.argsort(1)
        lengths = products.diagonal().clamp_min(TINY)
        for place in range(self.groups):
            other = own.index_select(0, order[:, place])  # a row for each i: 1 at j
            opposed = ((combined @ products) * other).sum(1).clamp_max(0) * (1 - (other * own).sum(1))
            combined = combined - opposed[:, None] * other / lengths
        return combined.sum(0)


@ours("cagrad", version="1")
@dataclass(frozen=True, kw_only=True)
class CAGrad(Surgery):
    """Conflict-averse gradient descent (Liu et al., NeurIPS 2021, arXiv 2110.14048).

    g = (g_0 + l g_x) / (1 + c^2), where g_0 is the mean of the groups' gradients, l = c |g_0| / |g_x|, and x minimises
    x'M b + c |g_0| sqrt(x'M x) over the simplex, b = 1/G each. The factors are G times those of this mean, so that
    c = 0 is ANN. ``radius`` is c, 0.4 as in the paper.
    """

    radius: float = 0.4

    def __post_init__(self) -> None:
        refuse(*_sizes(self), within("radius", self.radius, 0, 1))

    def combine(self, products: Tensor, draws: Tensor) -> Tensor:
        if not self.radius:
            return products.new_ones(self.groups)
        even = products.new_full((self.groups,), 1 / self.groups)
        pull = self.radius * (even @ products @ even).clamp_min(0).sqrt()
        shares = least(products, products @ even, pull)
        length = (shares @ products @ shares).clamp_min(TINY).sqrt()
        return self.groups * (even + pull / length * shares) / (1 + self.radius**2)


def least(products: Tensor, slopes: Tensor, pull: Tensor) -> Tensor:
    """The x [G] of the simplex at which x'``slopes`` + ``pull`` sqrt(x'M x) is least, M being ``products``.

    On each support S of x the conditions of Karush, Kuhn and Tucker can be solved: slopes_S + pull M_S x / s = m 1,
    s = sqrt(x'M x), which is a quadratic equation in m. Of all supports with shares of at least 0 the best is taken.
    """
    size = len(slopes)
    supports = products.new_tensor([each for each in product((0.0, 1.0), repeat=size) if any(each)])
    ridge = products + SLACK * (products.diagonal().mean() + TINY) * _identity(products)
    inside = supports[:, :, None] * supports[:, None, :]
    inverse = (ridge * inside + _identity(products) * (1 - supports)[:, :, None]).inverse()
    u = (inverse @ supports[:, :, None])[:, :, 0] * supports
    v = (inverse @ (supports * slopes)[:, :, None])[:, :, 0] * supports
    a, b, c = u.sum(1), v.sum(1), (v * slopes).sum(1) - pull**2
    m = (b + (b**2 - a * c).clamp_min(0).sqrt()) / a
    raw = m[:, None] * u - v
    shares = raw / raw.sum(1, keepdim=True)
    feasible = (shares.amin(1) >= -SLACK) & shares.isfinite().all(1)
    shares = shares.clamp_min(0)
    height = shares @ slopes + pull * ((shares @ products) * shares).sum(1).clamp_min(0).sqrt()
    best = height.where(feasible, height.new_full((), float("inf"))).argmin()
    return shares[best]
