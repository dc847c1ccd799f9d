"""Which loss is amplified, and how often: against closed forms, and slow twins in plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from scipy.stats import chisquare
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from anytime_core.config import MILESTONES, STRATEGIES, Aann, Ann, Avgl, Exp3, Milestone, Rwm
from anytime_core.cost import milestone_index, prediction_costs
from anytime_core.training.selection import Selection
from anytime_core.training.weighting import loss_weights

SIEVE = loss_weights("sieve", 15)
AMPLIFYING = [kind for kind in STRATEGIES.values() if kind is not Ann]


def selection_of(strategy, base: Sequence[float] = SIEVE, milestones: Sequence[int] = (0, 7, 14)) -> Selection:
    return Selection(strategy, torch.tensor(base, dtype=torch.float64), milestones)


def uniform(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def counts(selection: Selection, draws: int) -> list[int]:
    """How often each loss is chosen, without learning in between."""
    numbers = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chosen = torch.zeros(len(selection.base), dtype=torch.float64)
    for number in numbers:
        selection.choose(number)
        chosen += selection.chosen
    return [int(count) for count in chosen]


# Draws


def test_without_a_strategy_the_weights_are_the_base() -> None:
    selection = selection_of(Ann())
    assert not selection.amplifies
    for number in (0.0, 0.3, 0.999):
        assert selection.choose(uniform(number)).tolist() == list(SIEVE)
        selection.learn(torch.rand(15))


@pytest.mark.parametrize("kind", AMPLIFYING)
@pytest.mark.parametrize("gamma", [0.0, 0.25, 2.0])
def test_the_chosen_loss_gains_gamma_times_the_sum_of_all(kind, gamma) -> None:
    selection = selection_of(kind(gamma=gamma))
    assert selection.amplifies
    for number in (0.0, 0.1, 0.5, 0.99):
        weights = selection.choose(uniform(number)).tolist()
        (index,) = torch.nonzero(selection.chosen).flatten().tolist()
        expected = [weight + (gamma * 50 if i == index else 0) for i, weight in enumerate(SIEVE)]
        assert weights == pytest.approx(expected, rel=1e-14)


def test_a_draw_falls_on_the_loss_whose_share_it_is_in() -> None:
    selection = selection_of(Aann(), base=[1, 0, 2, 0, 5, 0])
    cases = {0.0: 0, 0.1249: 0, 0.125: 2, 0.3749: 2, 0.375: 4, 0.5: 4, 1 - 1e-12: 4}
    for number, index in cases.items():
        selection.choose(uniform(number))
        assert selection.chosen.tolist() == [float(i == index) for i in range(6)]


@pytest.mark.parametrize("size", [2, 15, 75])
def test_in_float32_no_draw_falls_outside_or_on_what_has_no_share(size) -> None:
    base = torch.tensor(loss_weights("sieve", size), dtype=torch.float32)
    base[1::3] = 0
    selection = Selection(Aann(), base)
    largest = 1 - 2**-24
    for number in [0.0, largest, *torch.rand(200, generator=torch.Generator().manual_seed(1)).tolist()]:
        selection.choose(torch.tensor(number))
        assert selection.chosen.sum() == 1
        assert (selection.chosen * base).sum() > 0


def test_aann_draws_in_proportion_to_the_weights() -> None:
    draws = 8000
    found = counts(selection_of(Aann()), draws)
    expected = [draws * weight / 50 for weight in SIEVE]
    assert chisquare(found, expected).pvalue > 0.01
    uneven = [*expected[:-2], expected[-1], expected[-2]]
    assert chisquare(found, uneven).pvalue < 1e-9  # the test can fail


def test_milestones_share_half_of_the_probability() -> None:
    costs = prediction_costs(7, 16)
    indices = [milestone_index(costs, fraction) for fraction in MILESTONES]
    assert len(set(indices)) == 4
    selection = selection_of(Milestone(), loss_weights("sieve", 21), indices)
    shares = [0.5 / 4 if index in indices else 0.5 / 17 for index in range(21)]
    assert selection.probabilities().tolist() == pytest.approx(shares, rel=1e-14)
    assert chisquare(counts(selection, 5000), [5000 * share for share in shares]).pvalue > 0.01


@pytest.mark.parametrize(("size", "milestones"), [(4, [0, 1, 2, 3]), (1, [0]), (3, [])])
def test_where_there_is_no_other_half_milestones_are_drawn_evenly(size, milestones) -> None:
    selection = selection_of(Milestone(), [1.0] * size, milestones)
    assert selection.probabilities().tolist() == pytest.approx([1 / size] * size)


# Learners


def twin_rewards(losses: Sequence[float], final_reward: float) -> list[float]:
    gains = [1 - after / before for before, after in pairwise(losses)]
    return [*gains, final_reward * max([0.0, *gains])]


def twin_index(number: float, p: Sequence[float]) -> int:
    reached = 0.0
    for index, share in enumerate(p):
        reached += share
        if number < reached:
            return index
    return len(p) - 1


def explored(v: Sequence[float], exploration: float) -> list[float]:
    return [(1 - exploration) * share + exploration / len(v) for share in v]


def normalised(v: Sequence[float]) -> list[float]:
    total = math.fsum(v)
    return [share / total for share in v]


class TwinExp3:
    def __init__(self, config: Exp3, size: int) -> None:
        self.config, self.v = config, [1 / size] * size

    def probabilities(self) -> list[float]:
        return explored(self.v, self.config.exploration)

    def mixed(self, v: Sequence[float]) -> list[float]:
        return explored(normalised(v), self.config.mixing * self.config.exploration)

    def learn(self, losses: Sequence[float], index: int) -> None:
        p, reward = self.probabilities(), twin_rewards(losses, self.config.final_reward)
        self.v[index] *= math.exp(self.config.exploration * reward[index] / (p[index] * len(p)))
        self.v = self.mixed(self.v)


class TwinRwm(TwinExp3):
    def learn(self, losses: Sequence[float], index: int) -> None:
        for j, reward in enumerate(twin_rewards(losses, self.config.final_reward)):
            self.v[j] *= math.exp(self.config.rate * self.config.exploration * reward)
        self.v = self.mixed(self.v)


class TwinAvgl:
    def __init__(self, config: Avgl, size: int) -> None:
        self.config, self.average = config, [0.0] * size

    def probabilities(self) -> list[float]:
        floored = [max(0.0, value) for value in self.average]
        v = normalised(floored) if sum(floored) > 0 else [1 / len(floored)] * len(floored)
        return explored(v, self.config.exploration)

    def learn(self, losses: Sequence[float], index: int) -> None:
        momentum, reward = self.config.momentum, twin_rewards(losses, self.config.final_reward)
        self.average = [momentum * old + (1 - momentum) * new for old, new in zip(self.average, reward, strict=True)]


LEARNERS = [
    (Exp3(), TwinExp3),
    (Exp3(exploration=0.1, final_reward=1.0), TwinExp3),
    (Exp3(mixing=0.001), TwinExp3),
    (Exp3(mixing=0.2, exploration=0.5), TwinExp3),
    (Rwm(), TwinRwm),
    (Rwm(mixing=0.001), TwinRwm),
    (Rwm(exploration=0.4, final_reward=0.7, rate=1.0), TwinRwm),
    (Avgl(), TwinAvgl),
    (Avgl(exploration=0.0, final_reward=0.0, momentum=0.5), TwinAvgl),
]


@pytest.mark.parametrize(("config", "kind"), LEARNERS)
@pytest.mark.parametrize("size", [1, 2, 15])
def test_learners_do_as_their_slow_twins(config, kind, size) -> None:
    """Over 300 steps of losses that fall on average from one prediction to the next, but not always."""
    rng, learned = random.Random(size), False
    selection, twin = selection_of(config, loss_weights("sieve", size)), kind(config, size)
    for _ in range(300):
        number, losses = rng.random(), [rng.uniform(0.5, 1.5) * 0.9**i for i in range(size)]
        p = twin.probabilities()
        assert selection.probabilities().tolist() == pytest.approx(p, abs=1e-10)
        assert math.fsum(selection.probabilities().tolist()) == pytest.approx(1, abs=1e-12)
        index = twin_index(number, p)
        selection.choose(uniform(number))
        assert selection.chosen.tolist() == [float(i == index) for i in range(size)]
        selection.learn(torch.tensor(losses, dtype=torch.float64))
        twin.learn(losses, index)
        learned |= max(p) > 1.5 * min(p)
    assert learned == (size > 1)


@pytest.mark.parametrize(("config", "kind"), LEARNERS)
def test_a_warm_up_chooses_the_last_loss_and_learns_nothing(config, kind) -> None:
    """Two epochs of it; from the third on all is as if that were the first."""
    rng = random.Random(7)
    selection, twin = selection_of(replace(config, warm_up_epochs=2)), kind(config, 15)
    for epoch in range(1, 5):
        selection.begin(epoch)
        for _ in range(20):
            number, losses = rng.random(), [rng.uniform(0.5, 1.5) * 0.9**i for i in range(15)]
            p = [0.0] * 14 + [1.0] if epoch <= 2 else twin.probabilities()
            assert selection.probabilities().tolist() == pytest.approx(p, abs=1e-10)
            weights = selection.choose(uniform(number)).tolist()
            index = twin_index(number, p)
            assert weights == pytest.approx([b + 25 * (i == index) for i, b in enumerate(SIEVE)])
            selection.learn(torch.tensor(losses, dtype=torch.float64))
            if epoch > 2:
                twin.learn(losses, index)


@pytest.mark.parametrize("kind", AMPLIFYING)
@pytest.mark.parametrize("epochs", [0, 1])
def test_every_strategy_may_warm_up(kind, epochs) -> None:
    selection, plain = selection_of(kind(warm_up_epochs=epochs)), selection_of(kind())
    selection.begin(1)
    last = [0.0] * 14 + [1.0]
    assert selection.probabilities().tolist() == (last if epochs else plain.probabilities().tolist())
    selection.begin(2)
    assert selection.probabilities().tolist() == plain.probabilities().tolist()


def test_all_of_the_exploration_may_be_mixed_in() -> None:
    selection = selection_of(Exp3(mixing=1, exploration=1), [1.0] * 4, [])
    for number in (0.1, 0.6, 0.9):
        selection.choose(uniform(number))
        selection.learn(torch.tensor([4.0, 1.0, 2.0, 0.5], dtype=torch.float64))
        assert selection.probabilities().tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("kind", STRATEGIES.values())
def test_in_float32_probabilities_sum_to_one_over_many_steps(kind) -> None:
    draws = torch.Generator().manual_seed(4)
    selection = Selection(kind(), torch.tensor(SIEVE), [0, 7, 14])
    for number in torch.rand(500, generator=draws):
        selection.choose(number)
        selection.learn(torch.rand(15, generator=draws) + 0.01)
        if selection.amplifies:
            assert abs(selection.probabilities().sum().item() - 1) < 1e-5
            assert selection.probabilities().min() >= 0


@pytest.mark.parametrize(
    ("config", "steps"),
    [(Rwm(rate=10, final_reward=0), (100, 95, 15)), (Exp3(exploration=0.5, final_reward=0), (1000, 600, 800))],
)
def test_a_loss_long_out_of_favour_comes_back_when_it_has_gained_as_much(config, steps) -> None:
    """After the first steps its weight is about exp(-150) or less. Float32 would hold that as 0, and keep it."""
    selection = Selection(config, torch.ones(3))
    draws = torch.Generator().manual_seed(5)
    first, second = torch.tensor([1.0, 0.1, 0.1]), torch.tensor([1.0, 1.0, 0.1])  # rewards .9 0 0 and 0 .9 0
    for losses, count, favourite in zip((first, second, second), steps, (0, 0, 1), strict=True):
        for number in torch.rand(count, generator=draws):
            selection.choose(number)
            selection.learn(losses)
        expected = explored([float(i == favourite) for i in range(3)], config.exploration)
        assert selection.probabilities().tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("config", [Exp3(), Rwm(), Avgl()])
def test_losses_of_zero_are_no_gain(config) -> None:
    selection = Selection(config, torch.ones(4))
    for number in torch.rand(50, generator=torch.Generator().manual_seed(6)):
        selection.choose(number)
        selection.learn(torch.zeros(4))
    assert selection.probabilities().tolist() == pytest.approx([0.25] * 4, abs=1e-6)


@pytest.mark.parametrize("kind", STRATEGIES.values())
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_losses_that_are_no_numbers_raise_nothing(kind, loss) -> None:
    selection = Selection(kind(), torch.ones(4), [0, 3])
    for _ in range(3):
        selection.learn(torch.tensor([1.0, loss, 1.0, loss]))
        assert selection.choose(torch.tensor(0.5)).shape == (4,)


# The device is never waited for


@pytest.mark.parametrize("kind", STRATEGIES.values())
def test_nothing_is_read_from_the_device(kind) -> None:
    """A fake tensor has no content: reading it, as waiting for a device does, raises."""
    options = {"warm_up_epochs": 1} if kind is not Ann else {}
    options |= {"mixing": 0.001} if kind in (Exp3, Rwm) else {}
    with FakeTensorMode():
        selection = Selection(kind(**options), torch.rand(5), [1, 4])
        for epoch, number in enumerate(torch.rand(3), start=1):
            selection.begin(epoch)
            weights = selection.choose(number)
            selection.learn(torch.rand(5))
        assert weights.shape == selection.probabilities().shape == (5,)
        with pytest.raises(DataDependentOutputException):
            weights.sum().item()
        with pytest.raises(DataDependentOutputException):
            weights.tolist()
