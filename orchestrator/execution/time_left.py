"""How long a round still takes, from how long its trials took so far. Pure: the clock is the caller's.

A trial's speed is in seconds for a unit of work, which is what its steps were predicted to take: multiply-adds, or
seconds. What is known of one trial is little at first, so it is mixed with what is known of its kind, and that with
what is known of all: as if ``OF_ALL`` of a trial of the kind had run at the speed of all, and ``OF_KIND`` of the trial
at that of its kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from statistics import fmean

SURE_AFTER = 0.02
"""Nothing is told before this share of the work is done."""
OF_ALL = 1.0
OF_KIND = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Of one trial: ``step`` is the work of one of the ``steps`` that are left. Those of a kind are equally fast."""

    steps: int
    step: float
    kind: Hashable = None


@dataclass(slots=True)
class _Speed:
    """The seconds in which so much work was done."""

    seconds: float = 0.0
    done: float = 0.0

    def add(self, seconds: float, done: float) -> None:
        self.seconds += seconds
        self.done += done

    def mixed(self, other: float, weight: float) -> float:
        """Seconds for a unit of work, as if ``weight`` of it had been done at the other speed too; that alone where
        there is no work, as in a trial that only has to be ended."""
        done = self.done + weight
        return (self.seconds + weight * other) / done if done else other


class TimeLeft:
    """Follows trials that run in the order given, as many at once as ever ran at once."""

    def __init__(self, works: Mapping[str, Work]) -> None:
        self._works = dict(works)
        self._left = {name: work.steps for name, work in works.items()}
        self._running: dict[str, float] = {}  # up to which moment its work is counted
        self._all, self._own = _Speed(), {name: _Speed() for name in works}
        self._kinds = {work.kind: _Speed() for work in works.values()}
        self._typical = _means(works.values())
        self._widest = 0
        self.work = sum(work.steps * work.step for work in works.values())
        """Of all trials that are not given up."""
        self.left = self.work

    def started(self, name: str, now: float) -> None:
        self._running[name] = now
        self._widest = max(self._widest, len(self._running))

    def began(self, name: str, now: float) -> None:
        """Its process is there, and begins to train: the time before is no measure of its speed."""
        if name in self._running and not self._own[name].done:
            self._running[name] = now

    def advanced(self, name: str, steps: int, now: float) -> None:
        """It has made so many steps more."""
        work = steps * self._works[name].step
        self._left[name] -= steps
        self.left -= work
        if name in self._running:
            seconds = now - self._running[name]
            for speed in (self._all, self._kinds[self._works[name].kind], self._own[name]):
                speed.add(seconds, work)
            self._running[name] = now

    def stopped(self, name: str) -> None:
        """It does not run any more; it may start again."""
        self._running.pop(name, None)

    def given_up(self, name: str) -> None:
        """What it will not do counts neither as done nor as left."""
        self.stopped(name)
        rest = self._left[name] * self._works[name].step
        self.work -= rest
        self.left -= rest
        self._left[name] = 0

    def seconds(self, now: float) -> float | None:
        """Until all have ended; None too early on."""
        if self._all.done <= 0 or not self._all.seconds or self.work - self.left < SURE_AFTER * self.work:
            return None
        running = dict(self._running)  # at once: a live view is drawn by another thread
        busy = [max(self._seconds_of(name) - (now - since), 0.0) for name, since in running.items()]
        slots = [*busy, *[0.0] * (self._widest - len(busy))]
        heapify(slots)
        for name, left in self._left.items():
            if left and name not in running:
                heapreplace(slots, slots[0] + self._seconds_of(name))
        return max(slots)

    def _seconds_of(self, name: str) -> float:
        """That a trial still takes."""
        work = self._works[name]
        everywhere = self._all.seconds / self._all.done
        usual = self._kinds[work.kind].mixed(everywhere, OF_ALL * self._typical[work.kind])
        own = self._own[name].mixed(usual, OF_KIND * work.steps * work.step)
        return self._left[name] * work.step * own


def _means(works: Iterable[Work]) -> dict[Hashable, float]:
    """The mean work of a trial, by kind."""
    alike: dict[Hashable, list[float]] = defaultdict(list)
    for work in works:
        alike[work.kind].append(work.steps * work.step)
    return {kind: fmean(amounts) for kind, amounts in alike.items()}
