"""Which loss to amplify in each step (section 3.2, 4.4, appendix D), as state machines on the training device.

A strategy has a state of tensors and pure functions of it: its start, the probabilities p [L] of the next draw, the
weights [L] of the step, and its update from the losses of the step. Nothing here waits for the device. To add one of
ours: a config in ``config.Strategy``, its functions of one vector v [L], and a line in RULES. One of an extension's is
an ``extend.Strategy``, which has these functions itself.

The v of EXP3 and RWM are the logarithms of the paper's: what they multiply up over tens of thousands of steps would
soon be 0 in float32, from where no reward leads back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytime_core import extend
from anytime_core.config import (
    STRATEGIES,
    Aann,
    Ann,
    Avgl,
    Exp3,
    Milestone,
    Part,
    Rwm,
    Strategy,
    refuse_gaps,
    untrainable,
)
from anytime_core.errors import ConfigError
from anytime_core.extend import State, Step
from anytime_core.training import checked

TINY = 1e-12
VECTOR = "v"
"""The one tensor of the state of each strategy of ours."""


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


class _Own:
    """A strategy of ours, as ``Selection`` uses it."""

    noise = False

    def __init__(self, config: Strategy | Part) -> None:
        if type(config) not in RULES:
            raise ConfigError(untrainable(config))
        self.config, self.rule = config, RULES[type(config)]

    def start(self, base: Tensor, milestones: Sequence[int]) -> dict[str, Tensor]:
        return {VECTOR: self.rule.start(base, milestones).clone()}

    def begin(self, state: State, epoch: int) -> None:
        pass

    def probabilities(self, state: State) -> Tensor | None:
        return None if isinstance(self.config, Ann) else self.rule.probabilities(self.config, state[VECTOR])

    def weights(self, state: State, base: Tensor, bonus: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return base if isinstance(self.config, Ann) else base + bonus * chosen

    def update(self, state: State, step: Step) -> None:
        if self.rule.update is not unchanged and step.probabilities is not None:
            v = state[VECTOR]
            v.copy_(self.rule.update(self.config, v, step.probabilities, step.chosen, step.losses))


class _Extended:
    """The same of an extension's, whose answers are looked at."""

    def __init__(self, part: extend.Strategy) -> None:
        self.part, self.noise = part, part.noise
        self.shape: Sequence[int] = ()

    def start(self, base: Tensor, milestones: Sequence[int]) -> dict[str, Tensor]:
        self.shape = base.shape
        return checked.started(self.part, self.part.start(base, milestones))

    def begin(self, state: State, epoch: int) -> None:
        checked.update(self.part, state, self.part.begin(state, epoch), "begin")

    def probabilities(self, state: State) -> Tensor | None:
        p = self.part.probabilities(state)
        return None if p is None else checked.shaped(self.part, "probabilities", p, self.shape)

    def weights(self, state: State, base: Tensor, bonus: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return checked.shaped(self.part, "weights", self.part.weights(state, base, chosen, noise), self.shape)

    def update(self, state: State, step: Step) -> None:
        checked.update(self.part, state, self.part.update(state, step))


class Selection:
    """Draws a loss a step, gives the step's weights, and learns from its losses.

    ``base`` [L] are the weights B, ``milestones`` the indices of the predictions at 1/4, 1/2, 3/4 and 1 of the cost.
    ``state`` are tensors that stay where they are.
    """

    def __init__(self, strategy: Strategy | Part, base: Tensor, milestones: Sequence[int] = ()) -> None:
        self.strategy = strategy
        self.rule = _Extended(strategy) if isinstance(strategy, extend.Strategy) else _Own(strategy)
        self.base = base
        self.bonus = getattr(strategy, "gamma", 0.0) * base.sum()
        self.state = self.rule.start(base, milestones)
        self.last = torch.zeros_like(base)
        self.last[-1] = 1
        self.warms_up = False
        self.amplifies = self.rule.probabilities(self.state) is not None
        """Whether a loss is drawn each step."""
        self.p = self.probabilities()
        self.chosen = torch.zeros_like(base)
        self._places = torch.arange(len(base), device=base.device)
        self._no_rate = base.new_zeros(1)

    def rebase(self, weights: Sequence[float]) -> None:
        """Changes the base weights, where they lie."""
        self.base.copy_(torch.tensor(weights, dtype=self.base.dtype))
        self.bonus.copy_(getattr(self.strategy, "gamma", 0.0) * self.base.sum())

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(saved[name])

    def begin(self, epoch: int) -> bool:
        """Each epoch, counted from 1, begins with this: it may be one of the warm-up. True where that changed."""
        self.rule.begin(self.state, epoch)
        before, self.warms_up = self.warms_up, epoch <= getattr(self.strategy, "warm_up_epochs", 0)
        return self.warms_up != before

    def probabilities(self) -> Tensor:
        """[L], of the next draw; of a strategy that draws nothing, all on the last."""
        p = None if self.warms_up else self.rule.probabilities(self.state)
        return self.last if p is None else p

    def choose(self, draw: Tensor, noise: Tensor | None = None) -> Tensor:
        """The step's weights [L]. The uniform ``draw`` in [0, 1) falls on one loss, which the strategies of ours give
        gamma sum(B) more than its B; ``noise`` [L] is normal, for strategies that ask for it."""
        if self.amplifies:
            self._draw(draw)
        return self.rule.weights(self.state, self.base, self.bonus, self.chosen, noise)

    def _draw(self, draw: Tensor) -> None:
        self.p = self.probabilities()
        size = len(self.p)
        edges = torch.tril(self.p.expand(size, size)).sum(1)  # running sums; cumsum has no deterministic CUDA kernel
        index = (draw * edges[-1] >= edges).sum().clamp_max(size - 1)
        self.chosen = (self._places == index).to(edges.dtype)

    def learn(self, losses: Tensor, rate: Tensor | None = None) -> None:
        """Updates the state, where it lies, from the step's unweighted losses [L] and its learning rate [1]."""
        if self.warms_up:
            return
        p = self.p if self.amplifies else None
        known = self._no_rate if rate is None else rate
        self.rule.update(self.state, Step(losses=losses, chosen=self.chosen, probabilities=p, rate=known))
