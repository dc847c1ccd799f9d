"""What a limit holds back, followed second by second with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from anytime_core.training.epochs import steps_of_epoch
from orchestrator.execution.rationing import LOOK_SECONDS, Ration
from orchestrator.planning.plan import PlannedTrial
from orchestrator.sweep.limits import AtMost, Limits, Spending
from orchestrator.sweep.trial import Trial


class Machine:
    """Two slots, trials of so many epochs of so many seconds, and a worker that asks at the end of each epoch, as ours
    do."""

    def __init__(self, trials: dict[str, Trial], epoch: float, epochs: int, make_epochs: Callable) -> None:
        self.now, self.epoch, self.epochs, self.make_epochs = 0.0, epoch, epochs, make_epochs
        self.trials = trials
        self.begun: list[float] = []
        self.saved: list[float] = []

    def run(self, ration: Ration, slots: int = 2) -> None:
        waiting, running = list(self.trials), dict[str, tuple[float, int]]()
        while waiting or running:
            for trial_id, (since, done) in list(running.items()):
                if self.now >= since + self.epoch:
                    self.saved.append(self.now)
                    (epoch,) = self.make_epochs(1, 2, seconds=self.epoch)
                    ration.progressed(trial_id, [epoch])
                    if done + 1 == self.epochs or trial_id in ration.held:
                        ration.ended(trial_id)
                        del running[trial_id]
                    else:
                        running[trial_id] = (self.now, done + 1)
            while waiting and len(running) < slots:
                trial_id = waiting.pop(0)
                if trial_id not in ration.held and ration.began(trial_id):
                    running[trial_id] = (self.now, 0)
                    self.begun.append(self.now)
            if ration.over:
                waiting.clear()
            self.now += LOOK_SECONDS


def planned(trial: Trial, number: int) -> PlannedTrial:
    return PlannedTrial(trial=replace(trial, id=str(number)), action="run", reason="", step=0, work=1)


@given(
    st.integers(1, 20).map(lambda halves: halves / 2),
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(1, 80),
    st.booleans(),
)
def test_nothing_begins_that_cannot_reach_a_checkpoint_in_time(
    make_trial, make_epochs, epoch: float, epochs: int, count: int, end: int, known: bool
) -> None:
    entries = [planned(make_trial(), number) for number in range(count)]
    steps = {entry.trial.id: epoch / steps_of_epoch(entry.trial.config) for entry in entries} if known else {}
    machine = Machine({entry.trial.id: entry.trial for entry in entries}, epoch, epochs, make_epochs)
    spending = Spending(Limits(until=float(end)), 0.0)
    machine.run(Ration(spending, entries, steps, clock=lambda: machine.now))
    latest = end - epoch if known else end
    assert all(begin <= latest for begin in machine.begun)
    # A trial may be told a look too late, and end an epoch after that; one of an unknown kind begins until the end.
    late = LOOK_SECONDS if known else epoch + LOOK_SECONDS
    assert all(saved <= end + late for saved in machine.saved)
    if end >= (epoch * epochs + LOOK_SECONDS) * (count + 1):  # there was time for all of them
        assert len(machine.saved) == epochs * count


def test_an_amount_of_hours_is_used_and_no_more(make_trial, make_epochs) -> None:
    """Of 100 core-seconds, two trials at once use 50 seconds each; epochs of 10 seconds end at 50."""
    entries = [planned(make_trial(), number) for number in range(40)]
    machine = Machine({entry.trial.id: entry.trial for entry in entries}, 10.0, 1, make_epochs)
    spending = Spending(Limits(at_most=(AtMost(amount=100 / 3600, unit="cpu-hours"),)), 0.0)
    ration = Ration(spending, entries, {entry.trial.id: 10.0 / steps_of_epoch(entry.trial.config) for entry in entries})
    ration._clock = lambda: machine.now  # type: ignore[method-assign]
    machine.run(ration)
    assert len(machine.begun) in (8, 9, 10)
    assert spending.used(machine.now)["cpu-hours"] * 3600 <= 100 + 2 * LOOK_SECONDS
    assert ration.over


def test_a_trial_that_is_lost_may_begin_again(make_trial) -> None:
    """Also where it is the last one that is open."""
    ration = Ration(Spending(Limits(until=3600.0), 0.0), [planned(make_trial(), 0)], {}, clock=lambda: 0.0)
    assert ration.began("0")
    ration.lost("0")
    assert not ration.over
    assert ration.began("0")
    ration.ended("0")
    assert not ration.over


def test_trials_that_begin_at_once_share_what_is_left(make_trial) -> None:
    """36 core-seconds hold one epoch of 20 seconds, not four."""
    entries = [planned(make_trial(), number) for number in range(4)]
    steps = {entry.trial.id: 20.0 / steps_of_epoch(entry.trial.config) for entry in entries}
    spending = Spending(Limits(at_most=(AtMost(amount=36 / 3600, unit="cpu-hours"),)), 0.0)
    ration = Ration(spending, entries, steps, clock=lambda: 0.0)
    assert [ration.began(entry.trial.id) for entry in entries] == [True, False, False, False]
    doubled = Ration(
        Spending(Limits(at_most=(AtMost(amount=36 / 3600, unit="cpu-hours"),)), 0.0),
        entries,
        steps,
        {"0": 2},
        clock=lambda: 0.0,
    )
    assert not doubled.began("0")  # it would be given two cores


def test_without_limits_nothing_is_held(make_trial) -> None:
    ration = Ration(Spending(Limits(), 0.0), [planned(make_trial(), 0)], {})
    ration.began("0")
    assert not ration.held
    assert not ration.over
    assert not ration.overdue
