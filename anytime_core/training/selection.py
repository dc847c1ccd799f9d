"""Which loss to amplify in each step (section 3.2, 4.4, appendix D), as state machines on the training device.

A strategy is one vector v [L] and three pure functions: its start, the probabilities p [L] it stands for, and its
update from the losses of the step. Nothing here waits for the device. To add one: a config in ``config.Strategy``, its
functions, and a line in RULES.

The v of EXP3 and RWM are the logarithms of the paper's: what they multiply up over tens of thousands of steps would
soon be 0 in float32, from where no reward leads back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytime_core.config import STRATEGIES, Aann, Ann, Avgl, Exp3, Milestone, Rwm, Strategy, refuse_gaps

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Rule:
    """``start(base [L], milestones) -> v``, ``probabilities(config, v) -> p``,
    ``update(config, v, p, chosen, losses) -> v``, where ``chosen`` [L] is 1 at the amplified loss and 0 elsewhere."""

    start: Callable[[Tensor, Sequence[int]], Tensor]
    probabilities: Callable[[Any, Tensor], Tensor]
    update: Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]


def normalised(v: Tensor) -> Tensor:
    """v scaled to sum to one; uniform where everything has vanished."""
    total = v.sum()
    return torch.where(total > TINY, v / total.clamp_min(TINY), torch.full_like(v, 1 / len(v)))


def rewards(losses: Tensor, final_reward: float) -> Tensor:
    """Relative gain of each prediction's successor, r_i = 1 - l_{i+1} / l_i; the last gets a share of the best, or
    nothing where all successors are worse (eq. 4)."""
    gains = 1 - (losses[1:] + TINY) / (losses[:-1] + TINY)  # 0 where both losses are
    best = torch.cat([gains, torch.zeros_like(losses[:1])]).max()
    return torch.cat([gains, final_reward * best.reshape(1)])


def explored(v: Tensor, exploration: float) -> Tensor:
    return (1 - exploration) * v + exploration / len(v)


def proportional(base: Tensor, milestones: Sequence[int]) -> Tensor:
    return base / base.sum()


def halves(base: Tensor, milestones: Sequence[int]) -> Tensor:
    """Half evenly over the milestones, half evenly over the rest; uniform where one of the two is empty."""
    chosen = torch.zeros_like(base)
    chosen[list(milestones)] = 1
    return normalised(normalised(chosen) + normalised(1 - chosen))


def zeros(base: Tensor, milestones: Sequence[int]) -> Tensor:
    """No rewards yet, or logarithms of equal weights."""
    return torch.zeros_like(base)


def as_it_is(config: Any, v: Tensor) -> Tensor:
    return v


def unchanged(config: Any, v: Tensor, p: Tensor, chosen: Tensor, losses: Tensor) -> Tensor:
    return v


def learned(config: Exp3 | Rwm, v: Tensor) -> Tensor:
    return explored(torch.softmax(v, 0), config.exploration)


def averaged(config: Avgl, v: Tensor) -> Tensor:
    return explored(normalised(v.clamp_min(0)), config.exploration)


def mixed(config: Exp3 | Rwm, v: Tensor) -> Tensor:
    """Logarithms of weights, scaled to sum to one, and of these with a share of the uniform ones."""
    share, v = config.mixing * config.exploration, torch.log_softmax(v, 0)
    if not share:
        return v
    rest = math.log1p(-share) if share < 1 else -math.inf
    return torch.logaddexp(v + rest, torch.full_like(v, math.log(share / len(v))))


def exp3(config: Exp3, v: Tensor, p: Tensor, chosen: Tensor, losses: Tensor) -> Tensor:
    """Only the chosen loss: v_i exp(g r_i / (p_i L)), with the exploration g as rate (appendix D.3)."""
    reward = rewards(losses, config.final_reward)
    return mixed(config, v + chosen * config.exploration * reward / (p * len(v)))


def rwm(config: Rwm, v: Tensor, p: Tensor, chosen: Tensor, losses: Tensor) -> Tensor:
    """Every loss: v_j exp(rate g r_j)."""
    return mixed(config, v + config.rate * config.exploration * rewards(losses, config.final_reward))


def avgl(config: Avgl, v: Tensor, p: Tensor, chosen: Tensor, losses: Tensor) -> Tensor:
    """The exponential average of the rewards."""
    return torch.lerp(rewards(losses, config.final_reward), v, config.momentum)


RULES: dict[type, Rule] = {
    Ann: Rule(zeros, as_it_is, unchanged),
    Aann: Rule(proportional, as_it_is, unchanged),
    Milestone: Rule(halves, as_it_is, unchanged),
    Exp3: Rule(zeros, learned, exp3),
    Rwm: Rule(zeros, learned, rwm),
    Avgl: Rule(zeros, averaged, avgl),
}
refuse_gaps("selection.RULES", RULES, STRATEGIES.values())


class Selection:
    """Draws a loss a step, gives the step's weights, and learns from its losses.

    ``base`` [L] are the weights B, ``milestones`` the indices of the predictions at 1/4, 1/2, 3/4 and 1 of the cost.
    """

    def __init__(self, strategy: Strategy, base: Tensor, milestones: Sequence[int] = ()) -> None:
        self.strategy = strategy
        self.rule = RULES[type(strategy)]
        self.base = base
        self.bonus = getattr(strategy, "gamma", 0.0) * base.sum()
        self.v = self.rule.start(base, milestones).clone()
        self.last = torch.zeros_like(base)
        self.last[-1] = 1
        self.warms_up = False
        self.p = self.probabilities()
        self.chosen = torch.zeros_like(base)
        self._places = torch.arange(len(base), device=base.device)

    @property
    def amplifies(self) -> bool:
        return not isinstance(self.strategy, Ann)

    def begin(self, epoch: int) -> bool:
        """Each epoch, counted from 1, begins with this: it may be one of the warm-up. True where that changed."""
        before, self.warms_up = self.warms_up, epoch <= getattr(self.strategy, "warm_up_epochs", 0)
        return self.warms_up != before

    def probabilities(self) -> Tensor:
        """[L], of the next draw."""
        return self.last if self.warms_up else self.rule.probabilities(self.strategy, self.v)

    def choose(self, draw: Tensor) -> Tensor:
        """The step's weights [L]: B, plus gamma sum(B) on the loss that the uniform ``draw`` in [0, 1) falls on."""
        if not self.amplifies:
            return self.base
        self.p = self.probabilities()
        size = len(self.p)
        edges = torch.tril(self.p.expand(size, size)).sum(1)  # running sums; cumsum has no deterministic CUDA kernel
        index = (draw * edges[-1] >= edges).sum().clamp_max(size - 1)
        self.chosen = (self._places == index).to(edges.dtype)
        return self.base + self.bonus * self.chosen

    def learn(self, losses: Tensor) -> None:
        """Updates the state, where it lies, from the step's unweighted losses [L]."""
        if not self.warms_up and self.rule.update is not unchanged:
            self.v.copy_(self.rule.update(self.strategy, self.v, self.p, self.chosen, losses))
