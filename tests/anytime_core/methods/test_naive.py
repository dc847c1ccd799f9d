"""Each method against a naive one, written from its paper's formulas with loops and autograd, in float64.

Both train a network of three predictions for 20 steps: their parameters stay within 1e-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from anytime_core.config import Ann, Part
from anytime_core.extend import Objective, Progress, Strategy, Surgery
from anytime_core.methods import (
    AdaLoss,
    Averaging,
    Boosting,
    BoostingAnswers,
    Byot,
    Caching,
    CAGrad,
    Distillation,
    Famo,
    Imta,
    PCGrad,
    PhuongLampert,
    Product,
    RandomWeights,
    Scaled,
    SdnRamp,
    Uncertainty,
)
from anytime_core.methods.surgery import least
from anytime_core.randomness import generator
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.selection import Selection
from anytime_core.training.surgery import Surgeon, groups

L, N, K, WIDTH = 3, 6, 4, 5
STEPS, EPOCH, RATE = 20, 5, 0.2
BASE = (0.5, 1.0, 1.5)
"""Their mean is 1."""
COSTS, SEED = (20, 60, 100), 3


def parameters() -> list[Tensor]:
    """Three layers, then three heads."""
    draws = torch.Generator().manual_seed(0)
    shapes = [(WIDTH, WIDTH)] * L + [(WIDTH, K)] * L
    return [torch.randn(shape, generator=draws, dtype=torch.float64).requires_grad_() for shape in shapes]


def forward(weights: Sequence[Tensor], x: Tensor) -> list[Tensor]:
    logits = []
    for layer, head in zip(weights[:L], weights[L:], strict=True):
        x = torch.tanh(x @ layer)
        logits.append(x @ head)
    return logits


def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, labels, and the noise of the step."""
    draws = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield (
            torch.randn(N, WIDTH, generator=draws, dtype=torch.float64),
            torch.randint(K, (N,), generator=draws),
            torch.randn(L, generator=draws, dtype=torch.float64),
        )


def descend(weights: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for weight in weights:
            weight -= RATE * weight.grad
            weight.grad = None


def ours(part: Part) -> list[Tensor]:
    weights = parameters()
    base = torch.tensor(BASE, dtype=torch.float64)
    selection = Selection(part if isinstance(part, Strategy) else Ann(), base)
    objective = TrainingObjective(L, torch.device("cpu"), part if isinstance(part, Objective) else None)
    if isinstance(part, Objective):  # as it starts, in float64
        objective.state = {name: torch.tensor(value, dtype=torch.float64) for name, value in part.start(L).items()}
    surgeon = Surgeon(part, selection, weights[:L], COSTS) if isinstance(part, Surgery) else None
    if surgeon:
        surgeon.members = surgeon.members.double()
    for step, (x, labels, noise) in enumerate(batches()):
        if step % EPOCH == 0:
            selection.begin(1 + step // EPOCH)
            if surgeon:
                surgeon.begin(SEED, 1 + step // EPOCH, EPOCH)
        if surgeon and surgeon.due():
            surgeon.measure(lambda x=x, y=labels: objective(torch.stack(forward(weights, x)), y)[1])
        logits = torch.stack(forward(weights, x))
        losses, differentiated = objective(logits, labels)
        torch.autograd.backward(differentiated, selection.choose(torch.tensor(0.5), noise))
        descend(weights)
        selection.learn(losses.detach(), torch.tensor([RATE], dtype=torch.float64))
        objective.learn(logits.detach(), labels)
    return weights


Total = Callable[[int, list[Tensor], Tensor, Tensor], Tensor]
"""The loss of a step: from its number, the logits, the labels and the noise."""


def naive(total: Total) -> list[Tensor]:
    weights = parameters()
    for step, (x, labels, noise) in enumerate(batches()):
        total(step, forward(weights, x), labels, noise).backward()
        descend(weights)
    return weights


def weighted(weigh: Callable[[int, list[float], list[float]], Sequence[float]]) -> Total:
    """The sum of losses with these weights, made of the step, the losses' values and the noise."""

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        losses = [cross_entropy(own, labels) for own in logits]
        weights = weigh(step, [loss.item() for loss in losses], noise.tolist())
        return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))  # type: ignore[return-value]

    return total


def adaloss(momentum: float, every: int, last: float, floor: float) -> Total:
    mean: list[float] = []
    weights = [1.0] * L

    def weigh(step: int, losses: list[float], noise: list[float]) -> list[float]:
        nonlocal weights
        given = weights
        for i, loss in enumerate(losses):
            mean[i:] = [momentum * mean[i] + (1 - momentum) * loss, *mean[i + 1 :]] if step else [loss]
        if (step + 1) % every == 0:
            raw = [1 / (value + 1e-8) for value in mean]
            raw = [value / max(raw) for value in raw]
            raw[-1] += last
            weights = [(1 - floor) * value / max(raw) + floor for value in raw]
        return given

    return weighted(weigh)


def random_weights() -> Total:
    def weigh(step: int, losses: list[float], noise: list[float]) -> list[float]:
        total = math.fsum(map(math.exp, noise))
        return [L * math.exp(value) / total for value in noise]

    return weighted(weigh)


def averaging(temperature: float) -> Total:
    epochs: list[list[list[float]]] = []

    def weigh(step: int, losses: list[float], noise: list[float]) -> list[float]:
        if step % EPOCH == 0:
            epochs.append([])
        epochs[-1].append(losses)
        if len(epochs) < 3:
            return [1.0] * L
        means = [[sum(column) / EPOCH for column in zip(*epoch, strict=True)] for epoch in epochs[-3:-1]]
        raised = [math.exp(after / before / temperature) for before, after in zip(*means, strict=True)]
        return [L * value / sum(raised) for value in raised]

    return weighted(weigh)


def uncertainty() -> Total:
    s = torch.zeros(L, dtype=torch.float64, requires_grad=True)

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        if s.grad is not None:
            with torch.no_grad():
                s.sub_(RATE * s.grad)
                s.grad = None
        losses = torch.stack([cross_entropy(own, labels) for own in logits])
        return ((torch.exp(-s) * losses + s) / 2).sum()

    return total


def of_each(loss: Callable[[int, list[Tensor], Tensor], Tensor]) -> Total:
    """The sum of what stands in place of each loss, with the base weights."""

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        return sum(weight * loss(i, logits, labels) for i, weight in enumerate(BASE))  # type: ignore[return-value]

    return total


def boosting(share: float) -> Total:
    def loss(i: int, logits: list[Tensor], labels: Tensor) -> Tensor:
        before = torch.zeros_like(logits[0])
        for own in logits[:i]:
            before = own.detach() + share * before
        return cross_entropy(logits[i] + share * before, labels)

    return of_each(loss)


def distillation(share: float, temperature: float, teacher: str = "last", growth: float = 1.0, scale: int = 1) -> Total:
    t = temperature

    def loss(i: int, logits: list[Tensor], labels: Tensor) -> Tensor:
        plain = cross_entropy(logits[i], labels)
        if i == L - 1:
            return plain
        teachers = {"last": [L - 1], "next": [i + 1], "later": range(i + 1, L)}[teacher]
        own = log_softmax(logits[i] / t, 1)
        found = [kl_div(own, softmax(logits[j].detach() / t, 1), reduction="batchmean") for j in teachers]
        return (1 - share) * plain + share * t**2 * sum(found) / len(found) / scale

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        nonlocal t
        found = of_each(loss)(step, logits, labels, noise)
        if softmax(logits[-1].detach() / t, 1).amax(1).mean() > 0.5:
            t *= growth
        return found

    return total


def famo(rate: float, decay: float) -> Total:
    """As in the paper, but that the losses after a step are those of the next one. x follows torch's own Adam."""
    x = torch.zeros(L, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([x], lr=rate, weight_decay=decay)
    before: list[Tensor] = []

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        losses = torch.stack([cross_entropy(own, labels) for own in logits]) + 1e-8
        fixed = losses.detach()
        if before:
            (x.grad,) = torch.autograd.grad(softmax(x, 0), x, grad_outputs=before[-1].log() - fixed.log())
            adam.step()
        before.append(fixed)
        z = softmax(x.detach(), 0)
        weights = z / fixed / (z / fixed).sum()
        return L * sum(b * weight * loss for b, weight, loss in zip(BASE, weights, losses, strict=True))

    return total


def plain(factor: float = 1.0) -> Total:
    return weighted(lambda step, losses, noise: [factor * weight for weight in BASE])


def surgery(count: int, every: int, combine: Callable[[list[Tensor], list[list[int]]], list[float]]) -> Total:
    """``combine`` gives the factors of the groups, of the long vectors of their gradients and the orders drawn."""
    factors: list[float] = []

    def total(step: int, logits: list[Tensor], labels: Tensor, noise: Tensor) -> Tensor:
        losses = [weight * cross_entropy(own, labels) for weight, own in zip(BASE, logits, strict=True)]
        of = [math.ceil(count * cost / COSTS[-1]) - 1 for cost in COSTS]
        if step % EPOCH % every == 0:
            draws = torch.randn(
                -(-EPOCH // every), count, count, generator=generator(SEED, "surgery", 1 + step // EPOCH)
            )
            orders = draws[step % EPOCH // every].argsort(1).tolist()
            factors[:] = combine([_trunk_gradient(losses, of, group) for group in range(count)], orders)
        return sum(factors[group] * loss for group, loss in zip(of, losses, strict=True))  # type: ignore[return-value]

    return total


def _trunk_gradient(losses: list[Tensor], of: list[int], group: int) -> Tensor:
    """Found by walking the graph back to its first leaves: the layers, which come before the heads."""
    own = [loss for loss, place in zip(losses, of, strict=True) if place == group]
    layers = _layers(losses[-1])
    if not own:
        return torch.zeros(sum(layer.numel() for layer in layers), dtype=torch.float64)
    found = torch.autograd.grad(sum(own), layers, retain_graph=True, allow_unused=True)
    pairs = zip(found, layers, strict=True)
    return torch.cat([(torch.zeros_like(layer) if one is None else one).flatten() for one, layer in pairs])


def _layers(loss: Tensor) -> list[Tensor]:
    leaves: list[Tensor] = []
    queue = [loss.grad_fn]
    while queue:
        node = queue.pop()
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        queue += [after for after, _ in getattr(node, "next_functions", ()) if after]
    return [leaf for leaf in leaves if leaf.shape == (WIDTH, WIDTH)][::-1]


def pcgrad(gradients: list[Tensor], orders: list[list[int]]) -> list[float]:
    """On the vectors themselves, with the shares of each that are left."""
    factors = [0.0] * len(gradients)
    for i, order in enumerate(orders):
        left, shares = gradients[i].clone(), [float(j == i) for j in range(len(gradients))]
        for j in order:
            dot = float(left @ gradients[j])
            if j != i and dot < 0:
                left -= dot / float(gradients[j] @ gradients[j]) * gradients[j]
                shares[j] -= dot / float(gradients[j] @ gradients[j])
        assert torch.allclose(left, sum(s * g for s, g in zip(shares, gradients, strict=True)), atol=1e-12)
        factors = [factor + share for factor, share in zip(factors, shares, strict=True)]
    return factors


def cagrad(radius: float) -> Callable[[list[Tensor], list[list[int]]], list[float]]:
    """By scipy's own minimiser, on the vectors themselves."""

    def combine(gradients: list[Tensor], orders: list[list[int]]) -> list[float]:
        stacked, count = torch.stack(gradients).numpy(), len(gradients)
        mean = stacked.mean(axis=0)
        pull = radius * np.linalg.norm(mean)

        def height(x: np.ndarray) -> float:
            return float(x @ stacked @ mean + pull * np.linalg.norm(x @ stacked))

        simplex = {"type": "eq", "fun": lambda x: x.sum() - 1}
        starts = [np.full(count, 1 / count), *np.eye(count)]
        options: dict[str, Any] = {"bounds": [(0, 1)] * count, "constraints": simplex, "tol": 1e-15}
        x = min((minimize(height, start, **options).x for start in starts), key=height)
        factors = (1 / count + pull / np.linalg.norm(x @ stacked) * x) / (1 + radius**2)
        return [count * float(factor) for factor in factors]

    return combine


CASES: dict[str, tuple[Part, Callable[[], Total]]] = {
    "adaloss": (AdaLoss(momentum=0.8, every=3, floor=0.1), lambda: adaloss(0.8, 3, 0.0, 0.1)),
    "adaloss, more on the last": (AdaLoss(momentum=0.9, every=4, last=1.0), lambda: adaloss(0.9, 4, 1.0, 0.07)),
    "rlw": (RandomWeights(), random_weights),
    "dwa": (Averaging(), lambda: averaging(2.0)),
    "dwa, colder": (Averaging(temperature=0.5), lambda: averaging(0.5)),
    "uncertainty": (Uncertainty(), uncertainty),
    "scaled": (Scaled(), lambda: plain(1.5)),
    "boosting": (Boosting(), lambda: boosting(0.5)),
    "boosting, less": (Boosting(share=0.3), lambda: boosting(0.3)),
    "byot": (Byot(), lambda: distillation(0.1, 3.0)),
    "imta": (Imta(), lambda: distillation(0.9, 3.0)),
    "phuong_lampert": (PhuongLampert(), lambda: distillation(0.5, 1.0, growth=1.05)),
    "next": (Distillation(teacher="next", share=0.3), lambda: distillation(0.3, 1.0, "next")),
    "later": (
        Distillation(teacher="later", temperature=2.0, growth=1.1),
        lambda: distillation(0.5, 2.0, "later", growth=1.1),
    ),
    "published scale": (Byot(published_scale=True), lambda: distillation(0.1, 3.0, scale=K)),
    "famo": (Famo(), lambda: famo(0.025, 0.01)),
    "famo, faster": (Famo(rate=0.3, decay=0.0), lambda: famo(0.3, 0.0)),
    "pcgrad": (PCGrad(groups=3, every=2), lambda: surgery(3, 2, pcgrad)),
    "pcgrad in quarters": (PCGrad(every=1), lambda: surgery(4, 1, pcgrad)),  # the third quarter is without a prediction
    # Limits
    "cagrad without a radius is ann": (CAGrad(radius=0.0), plain),
    "distillation without a share is ann": (Distillation(share=0.0), plain),
    "boosting without a share is ann": (Boosting(share=0.0), plain),
    "a factor of 1 is ann": (Scaled(factor=1.0), plain),
    "adaloss that is all floor weighs alike": (
        AdaLoss(floor=1.0, every=1),
        lambda: weighted(lambda step, losses, noise: [1.0] * L),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_method_trains_as_its_naive_twin(name: str) -> None:
    part, twin = CASES[name]
    for own, other in zip(ours(part), naive(twin()), strict=True):
        assert (own - other).abs().max().item() < 1e-10


@pytest.mark.parametrize("radius", [0.1, 0.4, 0.9])
def test_cagrad_trains_as_its_naive_twin_as_exactly_as_a_minimiser_is(radius: float) -> None:
    twin = naive(surgery(3, 2, cagrad(radius)))
    for own, other in zip(ours(CAGrad(groups=3, every=2, radius=radius)), twin, strict=True):
        assert (own - other).abs().max().item() < 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_no_point_of_the_simplex_is_lower_than_the_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, pull = 2 + seed % 5, float(rng.uniform(0.01, 2))
    vectors = rng.normal(size=(size, 3 if seed % 2 else 12))  # of few dimensions, the products are singular
    products, slopes = vectors @ vectors.T, rng.normal(size=size)

    def height(x: np.ndarray) -> np.ndarray:
        return x @ slopes + pull * np.sqrt(np.einsum("ni,ij,nj->n", x, products, x).clip(0))

    found = least(*(torch.tensor(each, dtype=torch.float64) for each in (products, slopes, pull))).numpy()
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    others = rng.dirichlet(np.full(size, 0.3), 20_000)
    nearby = np.abs(found + 1e-3 * rng.normal(size=(20_000, size)))
    for points in (others, nearby / nearby.sum(axis=1, keepdims=True)):
        assert height(found[None])[0] <= height(points).min() + 1e-6


def test_groups_are_quarters_of_the_cost() -> None:
    assert groups((10, 25, 26, 50, 74, 76, 100), 4) == [0, 0, 1, 1, 2, 3, 3]


def test_methods_that_differ_train_differently() -> None:
    """Else the test above might compare nothing."""
    ends = {name: ours(part)[0] for name, (part, _) in CASES.items() if " is ann" not in name}
    for name, end in ends.items():
        assert all(other == name or not torch.allclose(end, ends[other]) for other in ends), name


def test_the_ramp_ends_at_the_costs() -> None:
    costs, ramp = [0.2, 0.6, 1.0], SdnRamp()
    assert ramp.weights(costs, Progress(epoch=1, fraction=0.0)) == [0.01, 0.01, 1.0]
    assert ramp.weights(costs, Progress(epoch=5, fraction=0.5)) == pytest.approx([0.11, 0.31, 1.0])
    assert ramp.weights(costs, Progress(epoch=9, fraction=0.999)) == pytest.approx([0.2, 0.6, 1.0])


# Answers


def drawn(count: int = L) -> Tensor:
    logits = torch.randn(count, 50, K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits[:, ::5] -= 2  # of some images no class is left
    return logits


def product_of(logits: list[list[float]], i: int) -> list[float]:
    raw = [math.prod(max(logits[j][k], 0.0) ** ((j + 1) / len(logits)) for j in range(i + 1)) for k in range(K)]
    raw = raw if sum(raw) else [math.exp(z) for z in logits[i]]
    return [value / sum(raw) for value in raw]


def cached_of(logits: list[list[float]], i: int) -> list[float]:
    rows = [[math.exp(z) for z in row] for row in logits[: i + 1]]
    probabilities = [[value / sum(row) for value in row] for row in rows]
    return max(reversed(probabilities), key=max)


def boosted_of(logits: list[list[float]], i: int) -> list[float]:
    raised = [math.exp(sum(0.5 ** (i - j) * logits[j][k] for j in range(i + 1))) for k in range(K)]
    return [value / sum(raised) for value in raised]


@pytest.mark.parametrize(
    ("part", "twin"), [(Product(), product_of), (Caching(), cached_of), (BoostingAnswers(), boosted_of)]
)
def test_answers_are_those_of_each_image(part: Any, twin: Callable[[list[list[float]], int], list[float]]) -> None:
    logits = drawn()
    kept = logits.clone()
    found = part.answers(logits).softmax(2)
    assert torch.equal(logits, kept)
    for n in range(logits.shape[1]):
        rows = logits[:, n].tolist()
        for i in range(L):
            assert found[i, n].tolist() == pytest.approx(twin(rows, i), abs=1e-10)


@pytest.mark.parametrize("part", [Product(), Caching(), BoostingAnswers()])
def test_an_answer_depends_on_no_later_prediction(part: Any) -> None:
    logits = drawn()
    cut = logits.clone()
    cut[2:] = 0
    assert torch.equal(part.answers(cut)[:2], part.answers(logits)[:2])
