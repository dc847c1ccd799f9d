"""Parts of extensions in training: what they compute, against closed forms and slow twins; same bits after each kill;
and what they give wrongly is one message."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from emulated_graph import EmulatedGraph
from extended import PARTS, Balanced, Boost, Distil, Drawn, Inverse, Noisy, Ramp, Twice, regime_of, registered
from gradients import gradients
from killed import IMAGES, killed, state
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn.functional import cross_entropy
from trials import digits_trial

from anytime_core.config import Joint, Part, TrialConfig
from anytime_core.errors import ConfigError
from anytime_core.extend import Answers, GradientFlow, Objective, Progress, Regime, Step, Strategy, Weighting
from anytime_core.model import graphs
from anytime_core.randomness import generator
from anytime_core.training import trainer
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.regimes import Phase
from anytime_core.training.selection import Selection
from anytime_core.training.trainer import build_run, train
from anytime_core.training.weighting import base_weights

CPU = torch.device("cpu")
COSTS = [100, 250, 400]
BASE = [0.25, 0.25, 0.5]


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with registered():
        yield


def trial(part: Part, **changes: Any) -> TrialConfig:
    """Three steps an epoch, three epochs and one step."""
    return digits_trial(regime_of(part), **changes)


# Bits


@pytest.mark.parametrize("kind", PARTS)
def test_a_run_killed_after_every_epoch_gives_the_same_bits(kind, tmp_path) -> None:
    config = trial(kind())
    whole = train(config, checkpoints=tmp_path / "whole", images=IMAGES)
    killed(tmp_path / "killed", config)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")
    assert train(config, checkpoints=tmp_path / "killed", images=IMAGES).errors == whole.errors


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_is_trained_otherwise_than_without_it(kind, tmp_path) -> None:
    """Else the test above would hold of parts that nobody asks."""
    for place, config in (("with", trial(kind())), ("without", digits_trial(Joint()))):
        train(config, checkpoints=tmp_path / place, images=IMAGES)
    parts, plain = (
        {name: value for name, value in state(tmp_path / place).items() if name.startswith("network/")}
        for place in ("with", "without")
    )
    assert (parts == plain) == (kind is Boost)  # whose answers change no training


# Slow twins


def test_weights_rise_with_each_epoch_and_stay_where_they_lie() -> None:
    run = build_run(trial(Ramp(power=2.0), steps=12), IMAGES, "cpu")
    base, total, seen = run.selection.base, run.costs[-1], []
    while not run.ended:
        run.begin_epoch()
        seen.append(base.tolist())
        run.epoch()
    assert len(seen) == 4
    for fraction, weights in zip((0.0, 0.25, 0.5, 0.75), seen, strict=True):
        raw = [(0.01 + fraction * cost / total) ** 2 for cost in run.costs]
        assert weights == pytest.approx([weight / sum(raw) for weight in raw])


def test_inverse_means_do_as_their_slow_twin() -> None:
    part, rng = Inverse(momentum=0.8, every=3, floor=0.1), np.random.default_rng(1)
    selection = Selection(part, torch.tensor(BASE, dtype=torch.float64))
    mean, weights = [0.0] * 3, [1.0] * 3
    for step in range(1, 12):
        assert selection.choose(torch.tensor(0.5)).tolist() == pytest.approx(weights)
        losses = rng.uniform(0.1, 3, 3).tolist()
        selection.learn(torch.tensor(losses, dtype=torch.float64))
        mean = losses if step == 1 else [0.8 * old + 0.2 * new for old, new in zip(mean, losses, strict=True)]
        if step % 3 == 0:
            inverse = [1 / (value + 1e-8) for value in mean]
            weights = [0.9 * value / max(inverse) + 0.1 for value in inverse]


def test_random_weights_are_those_of_the_noise_of_the_seed() -> None:
    """Each step has L draws of its own, the same for the same seed and epoch."""
    config = trial(Noisy())
    run = build_run(config, IMAGES, "cpu")
    run.begin_epoch()
    given: list[list[float]] = []
    choose = run.selection.choose
    run.selection.choose = lambda draw, noise=None: given.append(choose(draw, noise)) or given[-1]  # type: ignore
    while run.steps_ahead:
        run.step()
    noise = torch.randn(3, 3, generator=generator(config.seed, "noise", 1))
    for weights, row in zip(given, noise.tolist(), strict=True):
        total = math.fsum(map(math.exp, row))
        assert weights.tolist() == pytest.approx([math.exp(value) / total for value in row])


def test_a_strategy_that_draws_is_told_what_was_drawn() -> None:
    selection = Selection(Drawn(), torch.tensor(BASE, dtype=torch.float64))
    assert selection.amplifies
    p = BASE
    for draw, index in [(0.1, 0), (0.999, 2), (0.0, 0)]:
        weights = selection.choose(torch.tensor(draw, dtype=torch.float64)).tolist()
        assert weights == [b if i == index else b / 2 for i, b in enumerate(BASE)]
        selection.learn(torch.ones(3, dtype=torch.float64))
        p = [0.75 * share + 0.25 * (i == index) for i, share in enumerate(p)]
        assert selection.probabilities().tolist() == pytest.approx(p)


def test_distillation_is_its_formula() -> None:
    logits = torch.randn(3, 4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 5, 0, 9])
    objective = TrainingObjective(3, CPU, Distil(share=0.25))
    temperature = 1.0
    for _ in range(3):
        losses, given = objective(logits, labels)
        assert losses.tolist() == pytest.approx([cross_entropy(own, labels).item() for own in logits])
        for i in range(3):
            kl = 0.0
            for n in range(4):
                p, q = ([math.exp(z / temperature) for z in logits[k, n].tolist()] for k in (-1, i))
                p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
                kl += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 4
            mixed = 0.75 * losses[i].item() + 0.25 * temperature**2 * kl
            assert given[i].item() == pytest.approx(losses[i].item() if i == 2 else mixed, rel=1e-5)
        sure = torch.softmax(logits[-1] / temperature, 1).max(1).values.mean().item() > 0.2
        objective.learn(logits, labels)
        temperature *= 1.05 if sure else 1
    assert objective.state["temperature"].item() == pytest.approx(temperature)
    assert temperature > 1


def test_what_is_differentiated_is_not_what_is_reported() -> None:
    """Losses of the epochs are the plain ones: at a rate of 0 they are those of the network without the objective."""
    rates = {0: 0.0}
    own, plain = (
        build_run(digits_trial(regime, rates=rates), IMAGES, "cpu").epoch() for regime in (regime_of(Distil()), Joint())
    )
    assert own.train_loss == plain.train_loss


def test_answers_add_up_in_errors_and_not_in_losses_of_training() -> None:
    config = trial(Boost(share=0.5))
    run = build_run(config, IMAGES, "cpu")
    run.epoch()
    run.network.eval()
    with torch.no_grad():
        pixels = torch.tensor(IMAGES.test_images)
        logits = run.network(run.train_data.normalise(pixels))
    summed, before = [], torch.zeros_like(logits[0])
    for own in logits:
        before = own + 0.5 * before
        summed.append(before)
    labels = torch.tensor(IMAGES.test_labels)
    wrong = [100 * (answer.argmax(1) != labels).double().mean().item() for answer in summed]
    assert run.history[-1].test_error == pytest.approx(wrong)
    losses = [cross_entropy(answer, labels).item() for answer in summed]
    assert run.history[-1].test_loss == pytest.approx(losses, rel=1e-4)


def test_the_gradient_of_an_equilibrium_is_the_mean_of_those_behind() -> None:
    """By autograd, a loss at a time: the trunk before prediction k has the mean of the gradients of all losses from
    the k-th on that pass it; heads have their own, whole."""
    run = build_run(trial(Balanced()), IMAGES, "cpu")
    plain = build_run(digits_trial(Joint()), IMAGES, "cpu")
    images = run.train_data.normalise(torch.tensor(IMAGES.train_images[:8]))
    labels = torch.tensor(IMAGES.train_labels[:8])

    flowing = gradients(run.network.eval(), images, labels, [0, 1, 2])
    single = [gradients(plain.network.eval(), images, labels, [index]) for index in range(3)]
    for index, unit in enumerate(run.network.predicting_units):
        for name in run.network.head_parameters(unit):
            assert torch.allclose(flowing[name], single[index][name], atol=1e-6)
        for name in run.network.unit_parameters(unit):
            mean = sum(one[name] for one in single[index:]) / (3 - index)
            assert torch.allclose(flowing[name], mean, rtol=1e-3, atol=1e-6), name


def test_a_regime_runs_through_the_schedule_in_each_phase(tmp_path) -> None:
    config = trial(Twice(), steps=6)
    assert (config.phases, config.steps) == (2, 12)
    run = build_run(config, IMAGES, "cpu")
    seen = []
    while not run.ended:
        run.epoch()
        seen.append(run.phase.weights)
    assert seen == [(0.0, 0.0, 1.0)] * 2 + [(1.0, 1.0, 1.0)] * 2
    alone = replace(config, regime=Joint(weights=regime_of(Ramp()).weights))
    assert alone.phases == 1


# The device


@pytest.mark.parametrize("part", [Inverse(), Noisy(), Drawn(), Distil(), Boost()], ids=lambda part: type(part).__name__)
def test_nothing_is_read_from_the_device(part) -> None:
    with FakeTensorMode():
        kind = {kind: part if part.kind == kind else None for kind in ("objective", "answers")}
        objective = TrainingObjective(3, CPU, kind["objective"], kind["answers"])
        logits, labels = torch.rand(3, 4, 10), torch.zeros(4, dtype=torch.int64)
        losses, differentiated = objective(logits, labels)
        objective.learn(logits, labels)
        assert objective.answers(logits).shape == logits.shape
        if part.kind == "strategy":
            selection = Selection(part, torch.rand(3))
            assert selection.choose(torch.rand(()), torch.rand(3)).shape == (3,)
            selection.learn(losses)
        with pytest.raises(DataDependentOutputException):
            differentiated.sum().item()


@pytest.fixture
def emulated(monkeypatch) -> None:
    monkeypatch.setattr(graphs, "Graph", EmulatedGraph)
    monkeypatch.setattr(trainer, "mode_on", lambda device, mode: mode)


@pytest.mark.parametrize("kind", PARTS)
def test_calls_made_again_as_a_graph_makes_them_give_the_same_bits(kind, tmp_path, emulated) -> None:
    """State is on static tensors, base weights and their bonus too."""
    config = trial(kind())
    for mode in ("eager", "graph"):
        train(config, checkpoints=tmp_path / mode, images=IMAGES, mode=mode)
    assert state(tmp_path / "graph") == state(tmp_path / "eager")


# What is given wrongly


def broken(base: type, **functions: Any) -> Part:
    kind = dataclass(frozen=True, kw_only=True)(type("Wrong", (base,), functions))
    with registered(kind):
        return kind()


ONES = torch.ones(2)
STRATEGIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "weights of another shape": (
        {"weights": lambda *_: ONES},
        "strategy wrong: weights gives a tensor of shape [2], must give a tensor of shape [3]",
    ),
    "one weight": ({"weights": lambda *_: torch.tensor(1.0)}, "weights gives a tensor of shape [], must give"),
    "no tensor": ({"weights": lambda *_: [1.0] * 3}, "weights gives list, must give a tensor of shape [3]"),
    "probabilities": ({"probabilities": lambda *_: ONES}, "probabilities gives a tensor of shape [2]"),
    "start": ({"start": lambda *_: {"a": 1.0}}, "strategy wrong: start gives {'a': 1.0}, must give tensors by name"),
    "unknown state": (
        {"update": lambda *_: {"b": ONES}},
        "strategy wrong: update gives b; start gives nothing, and no others change",
    ),
    "nothing": ({"update": lambda *_: None}, "update gives NoneType; start gives nothing"),
    "state of another shape": (
        {"start": lambda own, base, _: {"a": base}, "update": lambda *_: {"a": torch.tensor(1.0)}},
        "update of a gives a tensor of shape [], must give a tensor of shape [3]",
    ),
}
OTHERS: Mapping[str, tuple[type, dict[str, Any], str]] = {
    "losses": (Objective, {"losses": lambda *_: ONES}, "objective wrong: losses gives a tensor of shape [2], must"),
    "mean loss": (Objective, {"losses": lambda own, s, z, y: z.mean()}, "losses gives a tensor of shape []"),
    "objective's start": (Objective, {"start": lambda *_: {"a": "b"}}, "objective wrong: start gives {'a': 'b'}"),
    "answers": (Answers, {"answers": lambda own, z: z[0]}, "answers wrong: answers gives a tensor of shape [32, 10]"),
    "factors": (
        GradientFlow,
        {"factors": lambda *_: [(1, 1)]},
        "flow wrong: factors gives [(1, 1)], must give 3 pairs",
    ),
    "factor": (GradientFlow, {"factors": lambda *_: [(1, -1)] * 3}, "of finite factors of at least 0"),
    "no pairs": (GradientFlow, {"factors": lambda *_: [1, 1, 1]}, "must give 3 pairs, one for each prediction"),
    "weights": (Weighting, {"weights": lambda *_: [1.0]}, "weights wrong are 1, must be 3, one for each prediction"),
    "NaN": (Weighting, {"weights": lambda *_: [math.nan] * 3}, "weights wrong are [nan, nan, nan], must be finite"),
    "all 0": (Weighting, {"weights": lambda *_: [0] * 3}, "must be finite, at least 0, and not all 0"),
    "signature": (Weighting, {"weights": lambda own: []}, "weights wrong: TypeError: "),
    "phases": (Regime, {"phases": lambda *_: []}, "regime wrong: has 0 phases, must have 1"),
    "phase's weights": (
        Regime,
        {"phases": lambda own, network: [Phase((1.0,), frozenset(dict(network.named_parameters())), 3)]},
        "regime wrong: phase 1 has 1 weights, must have 3, one for each prediction up to unit 3",
    ),
    "names": (
        Regime,
        {"phases": lambda *_: [Phase((1.0,) * 3, frozenset({"trunk"}), 3)]},
        "phase 1 trains trunk, which the network does not have; regime wrong: phase 1 trains nothing",
    ),
}
WRONG = {name: (Strategy, *values) for name, values in STRATEGIES.items()} | OTHERS


@pytest.mark.parametrize("name", WRONG)
def test_what_is_given_wrongly_is_one_message(name) -> None:
    base, functions, message = WRONG[name]
    with pytest.raises(ConfigError) as error:
        build_run(trial(broken(base, **functions)), IMAGES, "cpu").epoch()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_that_go_wrong_later_are_one_message_then() -> None:
    part = broken(Weighting, weights=lambda own, costs, progress: [1 / (0.5 - progress.fraction)] * len(costs))
    run = build_run(trial(part, steps=12), IMAGES, "cpu")
    run.epoch()
    run.epoch()
    with pytest.raises(ConfigError, match="weights wrong: ZeroDivisionError: float division by zero"):
        run.epoch()


def test_a_step_that_is_no_number_ends_as_diverged() -> None:
    """What a strategy gives is not read in a step: it shows in the epoch's losses."""
    part = broken(Strategy, weights=lambda own, state, base, *_: base * math.nan)
    assert train(trial(part), images=IMAGES).state == "diverged"


def test_base_weights_of_any_sum_stay_as_they_are_where_asked() -> None:
    progress = Progress(epoch=3, fraction=0.5)
    assert base_weights(Ramp(normalize="none"), COSTS, progress) == [0.135, 0.3225, 0.51]
    assert sum(base_weights(Ramp(), COSTS, progress)) == pytest.approx(1)


def test_a_step_is_told_with_its_draw() -> None:
    told: list[Step] = []
    part = broken(Strategy, update=lambda own, state, step: told.append(step) or {})
    Selection(part, torch.tensor(BASE)).learn(torch.ones(3))
    assert told[0].probabilities is None
