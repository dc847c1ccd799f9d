"""Whenever it is interrupted, a network answers with the latest of its own predictions that it has finished."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anytime_core.config import Transition
from anytime_core.cost import costs_at, milestone_index, prediction_costs
from anytime_core.data.loader import Normalisation
from anytime_core.errors import TooEarlyError
from anytime_core.inputs import ImageSpec
from anytime_core.model.network import AnytimeResNet
from anytime_core.model.stages import stages
from anytime_core.predictor import PRIOR, AnytimePredictor, ExponentialSequence, Prediction
from anytime_core.trained import TrainedNetwork


def trained(n: int = 2, c: int = 4, seed: int = 0, channels: int = 1, **options: Any) -> TrainedNetwork:
    """Not trained at all, but with statistics that make no layer a plain one."""
    network = AnytimeResNet(n, c, 10, in_channels=channels, seed=seed, **options)
    draws = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.rand(module.num_features, generator=draws) - 0.5
            module.running_var = torch.rand(module.num_features, generator=draws) + 0.5
    mean, std = (torch.full((1, channels, 1, 1), value) for value in (5.0, 6.0))
    return TrainedNetwork(network, Normalisation(mean, std)).eval()


def pixels(count: int = 3, channels: int = 1, side: int = 8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 17, (count, channels, side, side), dtype=np.uint8)


def of_network(network: TrainedNetwork, images: np.ndarray) -> Tensor:
    """Probabilities [L,N,K]."""
    with torch.no_grad():
        return network(torch.tensor(images)).softmax(2)


DIGITS = ImageSpec(1, 8, 16)


class Interrupting(nn.Module):
    """Stands for the unit that it is put around, and calls ``act`` before or after it has been computed."""

    def __init__(self, unit: nn.Module, before: Callable[[], object] = int, after: Callable[[], object] = int) -> None:
        super().__init__()
        self.unit, self.before, self.after = unit, before, after

    def forward(self, x: Tensor) -> Tensor:
        self.before()
        found = self.unit(x)
        self.after()
        return found


def spied(network: TrainedNetwork) -> tuple[TrainedNetwork, list[int]]:
    """The same network, and the units that it has begun."""
    begun: list[int] = []
    unit = 0
    for block in network.network.blocks:
        for index, body in enumerate(block.units):
            unit += 1
            block.units[index] = Interrupting(body, before=lambda unit=unit: begun.append(unit))
    return network, begun


# Answers


@pytest.mark.parametrize("transition", get_args(Transition))
@pytest.mark.parametrize(("n", "options"), [(2, {}), (2, {"period": 4}), (3, {"predicting_units": (1, 2, 5)})])
def test_the_answers_are_the_predictions_of_the_network_one_by_one(n, options, transition) -> None:
    network = trained(n, channels=3, transition=transition, **options)
    images = pixels(channels=3)
    answers = list(AnytimePredictor(network).refine(images))
    expected = of_network(network, images)
    assert [answer.index for answer in answers] == list(range(len(expected)))
    assert tuple(answer.unit for answer in answers) == network.predicting_units
    for answer, probabilities in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer.probabilities, probabilities, rtol=1e-5, atol=1e-6)
        assert torch.equal(answer.classes, probabilities.argmax(1))
        assert answer.confidence == pytest.approx(float(probabilities.amax(1).min()))


def test_costs_are_those_of_the_tables_and_time_goes_on() -> None:
    network = trained(2, 4, period=2)
    answers = list(AnytimePredictor(network).refine(pixels()))
    assert [answer.cost for answer in answers] == prediction_costs(2, 4, 2, 10, in_channels=1, image_size=8)
    times = [answer.seconds for answer in answers]
    assert times[0] > 0
    assert times == sorted(times)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_pixels_of_any_type_one_image_or_many_give_the_same(kind, as_tensor) -> None:
    predictor, images = AnytimePredictor(trained()), pixels()
    given = torch.tensor(images.astype(kind)) if as_tensor else images.astype(kind)
    expected = predictor.predict(images).probabilities
    assert torch.equal(predictor.predict(given).probabilities, expected)
    torch.testing.assert_close(predictor.predict(given[1]).probabilities, expected[1:2], rtol=1e-5, atol=1e-6)


def test_the_mode_of_the_caller_is_as_it_was_between_two_answers() -> None:
    """And no gradient is kept."""
    for answer in AnytimePredictor(trained()).refine(pixels()):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not answer.probabilities.requires_grad


# Budgets


@pytest.mark.parametrize("options", [{}, {"period": 3}, {"transition": "pooling"}])
def test_a_budget_gives_the_latest_prediction_that_costs_no_more_and_computes_no_more(options) -> None:
    network, begun = spied(trained(2, 4, **options))
    predictor, images = AnytimePredictor(network), pixels()
    transition = options.get("transition", "convolution")
    units = network.predicting_units
    costs = costs_at(2, 4, units, in_channels=1, image_size=8, transition=transition)
    assert predictor.costs(8) == tuple(costs)
    for index, cost in enumerate(costs):
        for budget in (cost, costs[index + 1] - 1 if index + 1 < len(costs) else 10 * cost):
            begun.clear()
            answer = predictor.predict(images, budget=budget)
            assert (answer.index, answer.cost) == (index, cost)
            assert begun == list(range(1, units[index] + 1))


@pytest.mark.parametrize("text", ["0.1", "1/4", "0.3", "1/3", "0.5", "0.7", "0.9", "1"])
def test_up_to_one_a_budget_is_a_part_of_the_cost_of_all(text) -> None:
    predictor = AnytimePredictor(trained(3, 4))
    costs = predictor.costs(8)
    index = milestone_index(costs, Fraction(text))
    if index is None:
        with pytest.raises(TooEarlyError):
            predictor.predict(pixels(), budget=float(Fraction(text)))
    else:
        assert predictor.predict(pixels(), budget=float(Fraction(text))).index == index


def test_a_budget_that_is_exactly_a_cost_is_enough_though_its_part_is_no_exact_number() -> None:
    predictor = AnytimePredictor(trained(3, 5))
    costs = predictor.costs(8)
    for index, cost in enumerate(costs):
        assert predictor.predict(pixels(1), budget=cost / costs[-1]).index == index


# Confidence


def test_with_a_confidence_the_first_prediction_that_has_it_for_all_images_is_the_answer() -> None:
    network, images = trained(3, 6), pixels(4)
    least = of_network(network, images).amax(2).amin(1)
    for wanted in torch.linspace(float(least.min()) - 0.01, float(least.max()) + 0.01, 20).tolist():
        enough = [index for index, found in enumerate(least.tolist()) if found >= wanted]
        assert AnytimePredictor(network).predict(images, confidence=wanted).index == (enough or [8])[0]


def test_without_a_confidence_even_certainty_is_refined_and_with_one_no_other_unit_begins() -> None:
    network, begun = spied(trained())
    with torch.no_grad():
        network.network.blocks[0].heads.bias[0][3] = 1e9
    predictor = AnytimePredictor(network)
    assert predictor.predict(pixels()).index == 5
    begun.clear()
    answer = predictor.predict(pixels(), confidence=1.0)
    assert (answer.index, answer.confidence, begun) == (0, 1.0, [1])


# Interruption


@pytest.mark.parametrize("period", [1, 2])
def test_a_stop_within_any_unit_ends_with_that_unit(period) -> None:
    """Exactly: the unit under way is finished, the next never begins, and the answer is the latest one."""
    images = pixels()
    network, begun = spied(trained(2, 4, period=period))
    own = list(AnytimePredictor(network).refine(images))
    for unit in range(1, 7):
        stop = threading.Event()
        block, index = divmod(unit - 1, 2)
        wrapped = network.network.blocks[block].units[index]
        wrapped.after = stop.set
        begun.clear()
        finished = [answer for answer in own if answer.unit <= unit]
        if finished:
            answer = AnytimePredictor(network).predict(images, stop=stop)
            assert answer.index == finished[-1].index
            assert torch.equal(answer.probabilities, finished[-1].probabilities)
        else:
            with pytest.raises(TooEarlyError):
                AnytimePredictor(network).predict(images, stop=stop)
        assert begun == list(range(1, unit + 1))
        wrapped.after = int


def test_an_event_that_another_thread_sets_at_random_moments_gives_one_of_the_own_predictions() -> None:
    """The latest one that was finished when the event was set, or that of the unit which was under way."""
    images, draws = pixels(64), np.random.default_rng(0)
    predictor = AnytimePredictor(trained(4, 8), prior=[0.1] * 10)
    own = list(predictor.refine(images))
    for wait in draws.uniform(0, own[-1].seconds, 40):
        stop, seen = threading.Event(), [PRIOR]
        moment: list[int] = []

        def interrupt(
            stop: threading.Event = stop, seen: list[int] = seen, moment: list[int] = moment, wait: float = wait
        ) -> None:
            time.sleep(wait)
            stop.set()
            moment.append(seen[-1])

        thread = threading.Thread(target=interrupt)
        thread.start()
        answer: Prediction | None = None
        for answer in predictor.refine(images, stop=stop):
            seen.append(answer.index)
            assert torch.equal(answer.probabilities, own[answer.index].probabilities)
        thread.join()
        found = answer.index if answer else PRIOR
        assert found == seen[-1] == len(seen) - 2
        assert found - moment[0] <= 1


def test_deadlines_at_random_moments_give_the_latest_of_the_own_predictions() -> None:
    images = pixels(64)
    predictor = AnytimePredictor(trained(4, 8), prior=[0.1] * 10)
    own = list(predictor.refine(images))
    for deadline in np.random.default_rng(1).uniform(1e-6, own[-1].seconds, 40).tolist():
        answers = list(predictor.refine(images, deadline=deadline))
        assert [answer.index for answer in answers] == list(range(len(answers)))
        assert all(torch.equal(answer.probabilities, own[answer.index].probabilities) for answer in answers)
        # Each unit predicts, and none began after the deadline.
        assert all(answer.seconds < deadline for answer in answers[:-1])


def test_a_deadline_counts_from_the_call_and_not_from_the_first_step() -> None:
    answers = AnytimePredictor(trained()).refine(pixels(), deadline=1e-3)
    time.sleep(2e-3)
    assert list(answers) == []


def test_whichever_limit_is_first_counts() -> None:
    predictor, images = AnytimePredictor(trained()), pixels()
    costs, stop = predictor.costs(8), threading.Event()
    assert predictor.predict(images, deadline=60, budget=costs[2], confidence=1.0, stop=stop).index == 2
    assert predictor.predict(images, deadline=60, budget=costs[2], confidence=1e-3, stop=stop).index == 0
    stop.set()
    with pytest.raises(TooEarlyError, match=r"interrupted \(deadline, budget, stop\)"):
        predictor.predict(images, deadline=60, budget=costs[2], stop=stop)


# Before the first prediction


def test_before_the_first_prediction_there_is_an_error_that_says_what_it_takes() -> None:
    predictor = AnytimePredictor(trained())
    first = predictor.costs(8)[0]
    for limits in ({"deadline": 1e-9}, {"budget": first - 1}, {"budget": 1e-6}):
        with pytest.raises(TooEarlyError, match=rf"interrupted \(.*\) before the first prediction.* {first} multiply"):
            predictor.predict(pixels(), **limits)


def test_or_the_declared_prior() -> None:
    predictor = AnytimePredictor(trained(), prior=[0.5, *[0.5 / 9] * 9])
    for given, count in ((pixels(3), 3), (pixels(3)[0], 1)):
        answer = predictor.predict(given, deadline=1e-9)
        assert (answer.index, answer.unit, answer.cost) == (PRIOR, 0, 0)
        assert answer.probabilities.shape == (count, 10)
        assert answer.classes.tolist() == [0] * count
        assert answer.confidence == 0.5
    assert list(predictor.refine(pixels(), deadline=1e-9)) == []
    assert predictor.predict(pixels()).index == 5


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.2] * 10, [-0.1, 0.3, *[0.1] * 8], [float("nan")] * 10])
def test_a_prior_that_is_none_is_refused(prior) -> None:
    with pytest.raises(ValueError, match="prior must be 10 probabilities that sum to 1"):
        AnytimePredictor(trained(), prior=prior)


# Threads


def test_one_predictor_answers_many_threads_at_once() -> None:
    predictor = AnytimePredictor(trained(3, 8))
    batches = [pixels(count) for count in range(1, 9)]
    expected = [[answer.probabilities for answer in predictor.refine(batch)] for batch in batches]

    def work(index: int) -> bool:
        found = [answer.probabilities for answer in predictor.refine(batches[index])]
        return all(torch.equal(one, other) for one, other in zip(found, expected[index], strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, list(range(8)) * 4))


# Input


@pytest.mark.parametrize(
    ("shape", "found"),
    [((8, 9), "[8, 9]"), ((2, 3, 8, 8), "[2, 3, 8, 8]"), ((1, 8, 9), "[1, 8, 9]"), ((0, 1, 8, 8), "[0")],
)
def test_images_of_another_shape_are_refused(shape, found) -> None:
    message = rf"images are uint8 {re.escape(found)}.*, must be numbers \[N,1,S,S\], \[1,S,S\] or \[S,S\]"
    with pytest.raises(ValueError, match=message):
        AnytimePredictor(trained()).predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"deadline": 0}, "deadline is 0, must be a positive number of seconds"),
        ({"deadline": "5ms"}, "deadline is '5ms', must be a positive number"),
        ({"budget": -1}, "budget is -1"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"confidence": 1.5}, "confidence is 1.5, must be above 0 and at most 1"),
        ({"confidence": True}, "confidence is True"),
    ],
)
def test_limits_that_cannot_be_are_refused_at_once(limits, message) -> None:
    with pytest.raises(ValueError, match=message):
        AnytimePredictor(trained()).refine(pixels(), **limits)


def known(spec: ImageSpec = DIGITS, **options: Any) -> TrainedNetwork:
    """A network that knows its data set."""
    network = trained(**options)
    network.spec = spec
    return network


KINDS = ["uint8", "int8", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_checked_as_arrays_are(kind) -> None:
    predictor, dtype = AnytimePredictor(known()), getattr(torch, kind)
    images = torch.tensor(pixels().astype(np.int64)).to(dtype)
    assert torch.equal(predictor.predict(images).probabilities, predictor.predict(pixels()).probabilities)
    with pytest.raises(
        ValueError, match=rf"images are {kind} \[1, 8, 8\] from 17 to 17, must be .* from 0 to 16; brigh"
    ):
        predictor.refine(torch.full((1, 8, 8), 17).to(dtype))
    if dtype.is_floating_point:
        with pytest.raises(ValueError, match=r"from 0\.5 to 0\.5, must be .*; if their white is 1, give brightest 1"):
            predictor.refine(torch.full((1, 8, 8), 0.5).to(dtype))
        with pytest.raises(ValueError, match="with NaN or infinity among them"):
            predictor.refine(torch.full((1, 8, 8), torch.nan).to(dtype))


def test_tensors_that_hold_no_numbers_or_nothing_are_refused() -> None:
    for images, words in (
        (torch.zeros(1, 8, 8, dtype=torch.bool), r"images are bool \[1, 8, 8\], must be numbers"),
        (torch.zeros(1, 8, 8, dtype=torch.complex64), r"images are complex64 \[1, 8, 8\], must be numbers"),
        (torch.zeros(0, 1, 8, 8), r"images are float32 \[0, 1, 8, 8\] without any value, must be numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            AnytimePredictor(known()).predict(images)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_images_of_another_white_are_scaled_to_that_of_the_data_set(make) -> None:
    predictor, images = AnytimePredictor(known()), pixels()
    expected = predictor.predict(images).probabilities
    for white in (1, 255):
        scaled = make(images.astype(np.float64) / 16 * white)
        found = predictor.predict(scaled, brightest=white).probabilities
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        (answer, *_) = predictor.refine(scaled, brightest=white)
        assert answer.probabilities.shape == expected.shape


def test_a_network_that_knows_its_images_has_run_before_the_first_deadline() -> None:
    network, begun = spied(known())
    predictor = AnytimePredictor(network)
    assert begun == [1, 2, 3, 4, 5, 6]
    assert predictor.predict(pixels(1)[0, 0]).probabilities.shape == (1, 10)


def test_members_that_take_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="members take different images"):
        ExponentialSequence([known(n=1), known(ImageSpec(1, 8, 255))])


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="training mode"):
        AnytimePredictor(trained().train())


# Sequences


def test_a_member_answers_past_the_depth_of_the_one_before() -> None:
    """Section 3.3: networks of 3 and 9 units, the second from its fourth unit on; costs add up."""
    first, second = trained(1, 4, seed=1), trained(3, 4, seed=2)
    sequence, images = ExponentialSequence([first, second]), pixels()
    answers = list(sequence.refine(images))
    assert [(answer.member, answer.unit) for answer in answers] == [
        *((0, unit) for unit in (1, 2, 3)),
        *((1, unit) for unit in range(4, 10)),
    ]
    costs = [prediction_costs(n, 4, in_channels=1, image_size=8) for n in (1, 3)]
    expected = [*costs[0], *(costs[0][-1] + cost for cost in costs[1][3:])]
    assert [answer.cost for answer in answers] == expected == list(sequence.costs(8))
    own = [*of_network(first, images), *of_network(second, images)[3:]]
    for answer, probabilities in zip(answers, own, strict=True):
        torch.testing.assert_close(answer.probabilities, probabilities, rtol=1e-5, atol=1e-6)


def test_until_a_member_answers_the_last_of_the_one_before_stands() -> None:
    first, second = trained(1, 4, seed=1), trained(2, 4, seed=2)
    second, begun = spied(second)
    sequence = ExponentialSequence([first, second])
    costs, stop = sequence.costs(8), threading.Event()
    assert sequence.predict(pixels(), budget=costs[3] - 1).unit == 3
    assert begun == []
    second.network.blocks[0].units[1].after = stop.set
    answer = sequence.predict(pixels(), stop=stop)
    assert ((answer.member, answer.unit), begun) == ((0, 3), [1, 2])


@pytest.mark.parametrize("depths", [[2, 1], [1, 1], []])
def test_members_must_grow(depths) -> None:
    with pytest.raises(ValueError, match="must be at least one, and ascending"):
        ExponentialSequence([trained(n) for n in depths])


def test_members_must_be_of_one_kind() -> None:
    with pytest.raises(ValueError, match=r"members have \[1, 3\] channels, must have as many"):
        ExponentialSequence([trained(1), trained(2, channels=3)])


# On a GPU


@pytest.mark.gpu
def test_cuda_gives_the_same_answers_within_tolerance() -> None:
    network, images = trained(3, 16, channels=3), pixels(8, 3, 32)
    expected = of_network(network, images)
    answers = list(AnytimePredictor(network.cuda()).refine(images))
    for answer, probabilities in zip(answers, expected, strict=True):
        assert answer.probabilities.is_cuda
        torch.testing.assert_close(answer.probabilities.cpu(), probabilities, rtol=1e-3, atol=1e-4)


def test_stages_share_the_parameters_of_the_network() -> None:
    network = trained()
    predictor = AnytimePredictor(network)
    with torch.no_grad():
        network.network.blocks[0].heads.bias[0][7] = 1e9
    assert predictor.predict(pixels(), budget=predictor.costs(8)[0]).classes.tolist() == [7, 7, 7]
    assert [stage.unit for stage in stages(network.network)] == [1, 2, 3, 4, 5, 6]
