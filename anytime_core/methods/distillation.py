"""Self-distillation: predictions learn from later ones, too.

``byot``, ``imta`` and ``phuong_lampert`` are the settings of three papers: Zhang et al. (ICCV 2019, arXiv 1905.08094),
Li et al. (ICCV 2019, arXiv 1908.06294) and Phuong and Lampert (ICCV 2019, "Distillation-based training for multi-exit
architectures").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anytime_core.bounds import one_of, refuse, within
from anytime_core.extend import Numbers, Objective, State, ours
from anytime_core.methods.losses import of_log_probabilities

if TYPE_CHECKING:
    from torch import Tensor

Teacher = Literal["last", "next", "later"]
TEACHERS: tuple[Teacher, ...] = ("last", "next", "later")
COLDEST, HOTTEST = 1e-3, 1e3


@ours("distillation", version="1")
@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """(1 - a) CE(z_i, y) + a T^2 KL(softmax(z_t / T) || softmax(z_i / T)) for i < L, CE for the last: [L].

    Teachers t get no gradient: the ``last`` prediction, the ``next`` one, or all ``later`` ones, the mean of their
    divergences. ``share`` is a, ``temperature`` T, which is multiplied by ``growth`` after each step in which the mean
    of the last prediction's largest probability, softmax(z_L / T), is above ``sure``. Published code divides the
    divergence by the number of classes as well: ``published_scale``. With a = 0 it is ANN.
    """

    share: float = 0.5
    temperature: float = 1.0
    teacher: Teacher = "last"
    growth: float = 1.0
    sure: float = 0.5
    published_scale: bool = False

    def __post_init__(self) -> None:
        refuse(
            within("share", self.share, 0, 1),
            within("temperature", self.temperature, COLDEST, HOTTEST),
            one_of("teacher", self.teacher, TEACHERS),
            within("growth", self.growth, 1, 2),
            within("sure", self.sure, 0, 1),
        )

    def start(self, predictions: int) -> Mapping[str, Numbers]:
        """``teachers`` [L,L] are the shares of each teacher (column) in what a prediction (row) learns from."""
        rows = [[0.0] * predictions for _ in range(predictions)]
        for student in range(predictions - 1):
            taught_by = {
                "last": [predictions - 1],
                "next": [student + 1],
                "later": list(range(student + 1, predictions)),
            }[self.teacher]
            for teacher in taught_by:
                rows[student][teacher] = 1 / len(taught_by)
        return {"teachers": rows, "temperature": self.temperature}

    def losses(self, state: State, logits: Tensor, labels: Tensor) -> Tensor:
        temperature, teachers = state["temperature"].to(logits.dtype), state["teachers"].to(logits.dtype)
        divergence = _divergences(logits / temperature, teachers)
        if self.published_scale:
            divergence = divergence / logits.shape[2]
        share = self.share * teachers.sum(1)  # none of the last prediction's
        plain = of_log_probabilities(logits.log_softmax(2), labels)
        return (1 - share) * plain + share * temperature**2 * divergence

    def update(self, state: State, logits: Tensor, labels: Tensor) -> State:
        if self.growth == 1:
            return {}
        temperature = state["temperature"]
        sure = (logits[-1] / temperature).softmax(1).amax(1).mean() > self.sure
        return {"temperature": (temperature * self.growth).where(sure, temperature)}


def _divergences(logits: Tensor, teachers: Tensor) -> Tensor:
    """The mean over teachers j and images of KL(p_j || p_i) for each prediction i: [L]."""
    own = logits.log_softmax(2)
    fixed = own.detach()
    taught = (teachers @ fixed.exp().flatten(1)).view_as(own)
    information = teachers @ (fixed.exp() * fixed).sum(2).mean(1)
    return information - (taught * own).sum(2).mean(1)


@ours("byot", version="1")
@dataclass(frozen=True, kw_only=True)
class Byot(Distillation):
    """Be Your Own Teacher: a = 0.1, T = 3, from the last prediction, without the paper's hints of features."""

    share: float = 0.1
    temperature: float = 3.0


@ours("imta", version="1")
@dataclass(frozen=True, kw_only=True)
class Imta(Distillation):
    """Improved techniques for adaptive inference: a = 0.9, T = 3, from the last prediction. The paper has gradient
    equilibrium as well: ``flow: equilibrium``."""

    share: float = 0.9
    temperature: float = 3.0


@ours("phuong_lampert", version="1")
@dataclass(frozen=True, kw_only=True)
class PhuongLampert(Distillation):
    """a = 0.5 from the last prediction; T begins at 1 and grows by 5 % with each step in which it is sure."""

    growth: float = 1.05
