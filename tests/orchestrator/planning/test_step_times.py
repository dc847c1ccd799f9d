"""On a cluster of several kinds of nodes a limit goes by the slowest that may get a trial, with made-up speeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anytime_core.training.epochs import steps_of_epoch
from orchestrator.execution.rationing import Ration
from orchestrator.planning.estimate import Speeds
from orchestrator.planning.plan import PlannedTrial
from orchestrator.planning.step_times import slowest
from orchestrator.sweep.limits import Limits, Spending
from orchestrator.sweep.trial import Resources, Trial, TrialRecord
from orchestrator.system.hardware import Gpu, Node

FAST = Node(name="fast", cpu="fast CPU", cpus=8)
SLOW = Node(name="slow", cpu="slow CPU", cpus=2)
HEAD = Node(name="head", cpu="head CPU", cpus=0)
GPUS = Node(name="gpus", cpu="fast CPU", cpus=8, gpus=(Gpu(name="a GPU", memory=0),))


def took(trial: Trial, make_record, seconds: float, device: str, threads: int = 1) -> TrialRecord:
    """Ended, with so many seconds a step."""
    record: TrialRecord = make_record(trial, None)
    result = replace(record.result, seconds=seconds * record.result.steps)
    return replace(record, result=result, provenance={"device_name": device, "threads": threads})


@pytest.fixture
def trial(make_trial) -> Trial:
    made: Trial = make_trial()
    return made


@pytest.fixture
def speeds(trial, make_record) -> Speeds:
    on = {"fast CPU": 0.01, "slow CPU": 0.04, "head CPU": 9.0}
    several = [took(trial, make_record, seconds, device) for device, seconds in on.items()]
    return Speeds.from_records([*several, took(trial, make_record, 0.005, "fast CPU", threads=4)])


@pytest.mark.parametrize(
    ("nodes", "seconds"),
    [
        ([FAST], 0.01),
        ([SLOW], 0.04),
        ([FAST, FAST, SLOW], 0.04),
        ([HEAD, FAST], 0.01),
        ([FAST, replace(SLOW, cpu="unknown CPU")], 0.01),
    ],
    ids=["fast", "slow", "few of them slow", "the slowest holds none", "one kind unknown"],
)
def test_a_step_takes_what_it_takes_on_the_slowest_kind_that_can_hold_it(trial, speeds, nodes, seconds) -> None:
    assert slowest([trial], speeds, nodes) == {trial.id: pytest.approx(seconds)}


def test_a_kind_that_cannot_hold_a_trial_does_not_count(trial, speeds) -> None:
    wide = replace(trial, resources=Resources(cpus=4))
    assert slowest([wide], speeds, [FAST, SLOW]) == {wide.id: pytest.approx(0.005)}


def test_what_no_node_can_hold_or_nobody_has_measured_is_left_out(trial, speeds) -> None:
    assert slowest([trial], speeds, []) == {}
    assert slowest([trial], speeds, [HEAD]) == {}
    assert slowest([replace(trial, resources=Resources(gpus=1))], speeds, [FAST, GPUS]) == {}


@pytest.mark.parametrize(("nodes", "begins"), [([FAST], True), ([FAST, SLOW], False)])
def test_a_trial_begins_where_its_epoch_ends_in_time_on_any_node(trial, speeds, nodes, begins) -> None:
    """An epoch takes 0.01 s a step on one kind of node and 0.04 s on the other; 0.02 s a step are left."""
    entry = PlannedTrial(trial=trial, action="run", reason="", step=0, work=1)
    spending = Spending(Limits(until=0.02 * steps_of_epoch(trial.config)), 0.0)
    ration = Ration(spending, [entry], slowest([trial], speeds, nodes), clock=lambda: 0.0)
    assert ration.began(trial.id) is begins
