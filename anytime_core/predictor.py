"""Trained networks that answer whenever they are interrupted, alone or as a sequence (section 3.3).

Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from torch import Tensor

from anytime_core.data.loader import Normalisation
from anytime_core.errors import TooEarlyError
from anytime_core.inputs import ImageSpec, affordable, check_limits, sure_enough
from anytime_core.model.network import AnytimeResNet
from anytime_core.model.stages import stepped
from anytime_core.trained import TrainedNetwork

PRIOR = -1
"""The index of an answer that no network has computed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """One answer. ``index`` counts the answers from 0; PRIOR is the declared prior. ``probabilities`` are [N,K].

    ``cost`` are the multiply-adds of one image up to and including it, ``seconds`` those since the call, ``unit`` is
    the 1-based unit of the ``member`` of a sequence, 0-based, that it comes from.
    """

    index: int
    member: int
    unit: int
    cost: int
    seconds: float
    probabilities: Tensor

    @property
    def classes(self) -> Tensor:
        """The most likely class of each image, [N]."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> float:
        """The probability of the most likely class; of several images, the least of theirs."""
        return float(self.probabilities.amax(1).min())


class _Member:
    """A network of a sequence. Up to the depth ``after`` of the one before, it does not answer."""

    def __init__(self, network: TrainedNetwork, after: int) -> None:
        self.network, self.after = network, after
        self.steps = stepped(network.network)
        self.units = tuple(unit for unit in network.predicting_units if unit > after)
        self.classes, self.channels = network.network.classes, network.network.channels
        self.spec = network.spec
        self._costs: dict[int, tuple[int, ...]] = {}

    def costs(self, side: int) -> tuple[int, ...]:
        """Of all of its predictions, answers or not."""
        if side not in self._costs:
            self._costs[side] = self.network.network.costs(side)
        return self._costs[side]


@dataclass(slots=True)
class _Answer:
    """A Prediction in the making: what nobody looks at is not worked out, as each unit waits for it."""

    index: int
    member: int
    unit: int
    cost: int
    seconds: float
    logits: Tensor

    def prediction(self) -> Prediction:
        return Prediction(
            index=self.index,
            member=self.member,
            unit=self.unit,
            cost=self.cost,
            seconds=self.seconds,
            probabilities=self.logits.softmax(1),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limits:
    """``end`` is a time of ``time.perf_counter``, ``last`` the index of the last answer."""

    end: float
    last: int
    confidence: float | None
    threshold: float | None
    stop: Event | None

    def reached(self) -> bool:
        """Whether no other unit may begin."""
        return time.perf_counter() >= self.end or (self.stop is not None and self.stop.is_set())

    def enough(self, answer: _Answer) -> bool:
        if answer.index == self.last:
            return True
        if self.confidence is None and self.threshold is None:
            return False
        return sure_enough(answer.prediction().confidence, self.confidence, self.threshold)


class ExponentialSequence:
    """Networks of growing depth that run one after the other (EANN, section 3.3).

    A member answers past the depth of the one before; until then that one's last answer stands. Costs add up. What is
    asked of it is as of an AnytimePredictor.
    """

    def __init__(self, networks: Sequence[TrainedNetwork], *, prior: Sequence[float] | None = None) -> None:
        """``prior`` are the probabilities [K] that are the answer before the first prediction; without them there is
        none. Runs once if the networks know the size of an image, because the first run takes longest. Raises
        ValueError, also unless each network is deeper than the one before."""
        depths = [0, *(network.predicting_units[-1] for network in networks)]
        if len(depths) == 1 or depths != sorted(set(depths)):
            raise ValueError(f"members are {depths[1:]} units deep, must be at least one, and ascending")
        if len(networks) > 1 and not all(isinstance(it.network, AnytimeResNet) for it in networks):
            raise ValueError("a sequence is one of anytime ResNets, whose units are alike; others run alone")
        self._members = tuple(_Member(network, after) for network, after in zip(networks, depths, strict=False))
        self._refuse_unlike()
        self._prior = None if prior is None else self._checked_prior(prior)
        if self.spec.size:
            self.predict(torch.zeros(self.spec.channels, self.spec.size, self.spec.size))

    def _refuse_unlike(self) -> None:
        if any(member.network.training for member in self._members):
            raise ValueError("a network is in training mode: call eval() first")
        for name in ("channels", "classes"):
            if len(counts := {getattr(member, name) for member in self._members}) > 1:
                raise ValueError(f"members have {sorted(counts)} {name}, must have as many")
        if len(specs := {member.spec for member in self._members}) > 1:
            raise ValueError(f"members take different images, must take the same: {', '.join(map(str, specs))}")

    def _checked_prior(self, prior: Sequence[float]) -> Tensor:
        probabilities = torch.as_tensor(prior, dtype=torch.float32)
        if (
            probabilities.shape != (self.classes,)
            or not bool((probabilities >= 0).all())
            or not math.isclose(probabilities.sum(), 1, rel_tol=1e-4)
        ):
            raise ValueError(f"prior must be {self.classes} probabilities that sum to 1")
        return probabilities

    @property
    def classes(self) -> int:
        return self._members[0].classes

    @property
    def channels(self) -> int:
        return self._members[0].channels

    @property
    def spec(self) -> ImageSpec:
        """The images that it takes."""
        return self._members[0].spec

    @property
    def device(self) -> torch.device:
        return self._members[0].network.mean.device

    @property
    def units(self) -> tuple[tuple[int, int], ...]:
        """The member and the unit of each answer."""
        return tuple((number, unit) for number, member in enumerate(self._members) for unit in member.units)

    def costs(self, side: int) -> tuple[int, ...]:
        """Multiply-adds of one image of ``side`` x ``side`` pixels up to and including each answer."""
        costs, spent = [], 0
        for member in self._members:
            own = member.costs(side)
            costs += [spent + cost for cost in own[len(own) - len(member.units) :]]
            spent += own[-1]
        return tuple(costs)

    def predict(
        self,
        images: Tensor | np.ndarray,
        *,
        deadline: float | None = None,
        budget: float | None = None,
        confidence: float | None = None,
        threshold: float | None = None,
        stop: Event | None = None,
        brightest: float | None = None,
    ) -> Prediction:
        """The latest answer when the first of the limits is reached, or the last one of all.

        Raises TooEarlyError where that is before the first answer and there is no prior; else as ``refine``.
        """
        started = time.perf_counter()
        with torch.inference_mode():
            latest = deque(
                self._answers(images, started, deadline, budget, confidence, threshold, stop, brightest), maxlen=1
            )
            if latest:
                return latest[0].prediction()
        taken, shape = time.perf_counter() - started, np.shape(images)
        if self._prior is None:
            given = {"deadline": deadline, "budget": budget, "confidence": confidence, "threshold": threshold}
            limits = ", ".join(name for name, value in {**given, "stop": stop}.items() if value is not None)
            raise TooEarlyError(
                f"interrupted ({limits}) before the first prediction, after {1000 * taken:.1f} ms, and there is no "
                f"prior; at the earliest it is there after {self.costs(shape[-1])[0]} multiply-adds"
            )
        count = 1 if len(shape) < 4 else shape[0]
        return Prediction(
            index=PRIOR,
            member=0,
            unit=0,
            cost=0,
            seconds=taken,
            probabilities=self._prior.to(self.device).expand(count, -1),
        )

    def refine(
        self,
        images: Tensor | np.ndarray,
        *,
        deadline: float | None = None,
        budget: float | None = None,
        confidence: float | None = None,
        threshold: float | None = None,
        stop: Event | None = None,
        brightest: float | None = None,
    ) -> Iterator[Prediction]:
        """The answers one by one, as they are computed; what is not asked for is not computed.

        ``images`` are [N,C,S,S], or one as [C,S,S], or [S,S] of one channel: pixels as the data set has them, such as
        bytes from 0 to 255, in any type of number. They are normalised here as in training. With ``brightest``, pixels
        from 0 to that are scaled to those of the data set, such as from 0 to 1. No other unit begins once

        - ``deadline`` seconds have passed since this call,
        - the next answer would cost more than ``budget``: up to 1 a part of the cost of all, above that multiply-adds
          of one image,
        - in all of the images some class has at least the probability ``confidence``,
        - in all of them it is, rounded to float16 as outcomes are, at least ``threshold``, such as one that
          ``orchestrate calibrate`` found: its guarantee holds for images that are given one by one,
        - ``stop`` is set, which another thread may do.

        So a deadline or a stop is overrun by at most one unit; on CUDA each unit is waited for. Any number of threads
        may call at once. Raises ValueError for images that do not fit ``spec``, and for limits out of range.
        """
        started = time.perf_counter()
        return _one_by_one(self._answers(images, started, deadline, budget, confidence, threshold, stop, brightest))

    def _answers(
        self,
        images: Tensor | np.ndarray,
        started: float,
        deadline: float | None,
        budget: float | None,
        confidence: float | None,
        threshold: float | None,
        stop: Event | None,
        brightest: float | None,
    ) -> Iterator[_Answer]:
        """As ``refine``, in the caller's own mode."""
        check_limits(deadline, budget, confidence, threshold)
        pixels = self._pixels(images, brightest)
        costs = self.costs(pixels.shape[-1])
        limits = _Limits(
            end=math.inf if deadline is None else started + deadline,
            last=len(costs) - 1 if budget is None else affordable(costs, budget),
            confidence=confidence,
            threshold=threshold,
            stop=stop,
        )
        return self._run(pixels, costs, limits, started) if limits.last >= 0 else iter(())

    def _pixels(self, images: Tensor | np.ndarray, brightest: float | None) -> Tensor:
        """Checks images and puts them on the device as [N,C,S,S]. Raises ValueError."""
        if not isinstance(images, Tensor):
            return torch.as_tensor(self.spec.batch(images, brightest=brightest)).to(self.device)
        kind = str(images.dtype).removeprefix("torch.")
        self.spec.check(kind, images.shape, _extremes(images), brightest=brightest)
        batch = images.reshape(self.spec.batch_shape(images.shape)).to(self.device)
        # torch computes nothing with uint16, uint32 and uint64.
        pixels: Tensor = self.spec.scaled(batch if batch.is_floating_point() else batch.float(), brightest)
        return pixels

    def _run(self, pixels: Tensor, costs: Sequence[int], limits: _Limits, started: float) -> Iterator[_Answer]:
        index = 0
        for number, member in enumerate(self._members):
            x = Normalisation(member.network.mean, member.network.std)(pixels)
            so_far: list[Tensor] = []
            steps = member.steps(x)
            while True:
                if limits.reached():
                    return
                if (step := next(steps, None)) is None:
                    break
                unit, logits = step
                if logits is not None and member.network.answers:
                    so_far.append(logits)
                    logits = member.network.answers.answers(_filled_up(so_far, member))[len(so_far) - 1]
                if x.is_cuda:  # which only takes note of what is asked
                    torch.cuda.current_stream(x.device).synchronize()
                if logits is not None and unit > member.after:
                    answer = _Answer(index, number, unit, costs[index], time.perf_counter() - started, logits)
                    yield answer
                    if limits.enough(answer):
                        return
                    index += 1


class AnytimePredictor(ExponentialSequence):
    """One network: answers with what it has computed, whenever it is interrupted. See ``refine`` and ``predict``.

    >>> from anytime_core import load_images, load_network, train
    >>> from anytime_core.config import DataConfig, NetworkConfig, TrainingConfig, TrialConfig
    >>> training = TrainingConfig(steps=4, batch_size=64, learning_rate={0: 0.1})
    >>> config = TrialConfig(network=NetworkConfig(n=1, c=2), data=DataConfig(name="digits"), training=training)
    >>> _ = train(config, checkpoints="mine")
    >>> predictor = AnytimePredictor(load_network("mine"))
    >>> image = load_images("digits", None).test_images[0]  # pixels as the data set has them
    >>> [answer.index for answer in predictor.refine(image)]  # better and better
    [0, 1, 2]
    >>> predictor.predict(image, budget=0.5).index < 2  # half of the multiply-adds reach no further
    True
    """

    def __init__(self, network: TrainedNetwork, *, prior: Sequence[float] | None = None) -> None:
        super().__init__([network], prior=prior)


def _filled_up(so_far: Sequence[Tensor], member: _Member) -> Tensor:
    """With zeros for the predictions to come, on which no answer to those before depends: [L,N,K]."""
    to_come = len(member.network.predicting_units) - len(so_far)
    return torch.stack([*so_far, *([torch.zeros_like(so_far[0])] * to_come)])


def _one_by_one(answers: Iterator[_Answer]) -> Iterator[Prediction]:
    """In inference mode while they are computed, and not while the caller has them."""
    while True:
        with torch.inference_mode():
            answer = next(answers, None)
            prediction = answer.prediction() if answer else None
        if prediction is None:
            return
        yield prediction


def _extremes(images: Tensor) -> np.ndarray | None:
    """Gives the least and the greatest value [2], NaN if one of the values is; None without numbers."""
    if not images.numel() or images.is_complex() or images.dtype == torch.bool:
        return None
    values = images.detach()
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch finds no least one of these
        values = values.long()
    elif values.is_floating_point() and values.dtype != torch.float64:  # numpy lacks some of the short types
        values = values.float()
    extremes: np.ndarray = torch.stack(torch.aminmax(values)).cpu().numpy()
    return extremes
