"""The time left, on simulated trials whose durations scatter around their cost."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from statistics import median

import pytest

from orchestrator.execution.time_left import TimeLeft, Work

EPOCHS = 20
KINDS = 12
SPREAD = 50.0
"""The longest kind takes so many times as long as the shortest."""


def error_after_a_quarter(count: int, slots: int, noise: float, seed: int) -> float:
    """The relative error of what is told once a quarter of the work is done. Trials run longest first, each for its
    cost times a lognormal number; nothing is known before they start."""
    rng = random.Random(seed)
    costs = [SPREAD ** rng.random() for _ in range(KINDS)]
    kinds = sorted((rng.randrange(KINDS) for _ in range(count)), key=lambda kind: -costs[kind])
    seconds = [costs[kind] * rng.lognormvariate(0, noise) / EPOCHS for kind in kinds]
    left = TimeLeft(
        {str(name): Work(steps=EPOCHS, step=costs[kind] * 1e9, kind=kind) for name, kind in enumerate(kinds)}
    )
    waiting, events, told = list(range(count)), [(0.0, -1, 0)] * slots, None
    while events:
        now, name, epoch = heappop(events)
        if epoch:
            left.advanced(str(name), 1, now)
        if told is None and left.work - left.left >= left.work / 4:
            told = now, left.seconds(now)
        if epoch == EPOCHS:
            left.stopped(str(name))
        if epoch in (0, EPOCHS) and waiting:
            name, epoch = waiting.pop(0), 0
            left.started(str(name), now)
        elif epoch in (0, EPOCHS):
            continue
        heappush(events, (now + seconds[name], name, epoch + 1))
    assert told is not None
    assert told[1] is not None
    return abs(told[1] / (now - told[0]) - 1)


@pytest.mark.parametrize(("count", "slots"), [(40, 2), (40, 8), (100, 4), (100, 16), (390, 8)])
def test_after_a_quarter_of_the_work_it_is_within_a_fifth(count, slots) -> None:
    """Trials scatter by 10 %, more than those of one shape on one machine do."""
    errors = sorted(error_after_a_quarter(count, slots, 0.1, seed) for seed in range(20))
    assert median(errors) < 0.06
    assert errors[-1] < 0.2


def test_where_trials_scatter_more_it_is_as_a_rule() -> None:
    errors = [error_after_a_quarter(100, 8, 0.2, seed) for seed in range(40)]
    assert sum(error < 0.2 for error in errors) >= 38


def three(kinds: str = "aab") -> TimeLeft:
    return TimeLeft({str(name): Work(steps=10, step=1.0, kind=kind) for name, kind in enumerate(kinds)})


def test_what_is_known_of_a_kind_counts_for_its_trials_alone() -> None:
    """A trial of the first kind takes 10 s a step, one of the second 1 s."""
    left = three()
    left.started("0", 0.0)
    left.advanced("0", 10, 100.0)
    left.stopped("0")
    left.started("2", 100.0)
    left.advanced("2", 10, 110.0)
    left.stopped("2")
    # The mean of all is 5.5 s a step; one trial's worth of it is mixed with the kind's own 10 s.
    assert left.seconds(110.0) == pytest.approx(10 * (10 + 5.5) / 2)


def test_the_time_until_a_process_is_there_is_no_measure_of_its_speed() -> None:
    left = three("a")
    left.started("0", 0.0)
    left.began("0", 50.0)
    left.advanced("0", 5, 55.0)
    assert left.seconds(55.0) == pytest.approx(5.0)


def test_what_is_given_up_takes_no_time() -> None:
    left = three("aaa")
    left.started("0", 0.0)
    left.advanced("0", 10, 10.0)
    left.stopped("0")
    assert left.seconds(10.0) == pytest.approx(20.0)
    left.given_up("1")
    assert left.seconds(10.0) == pytest.approx(10.0)


def test_a_trial_that_only_has_to_be_ended_takes_no_time() -> None:
    """As one whose driver died between its last checkpoint and its result, alone of its kind."""
    left = TimeLeft({"a": Work(steps=2, step=1.0, kind="a"), "b": Work(steps=0, step=3.0, kind="b")})
    left.started("a", 0.0)
    left.advanced("a", 1, 10.0)
    assert left.seconds(10.0) == 10.0
    left.started("b", 10.0)
    assert left.seconds(10.0) == 10.0
