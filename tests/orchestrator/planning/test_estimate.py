"""What a plan says a sweep will take: known times come back, and what nothing is known of stays unknown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.config import Aann, Joint, NetworkConfig, Opt, Regime
from anytime_core.methods import PCGrad
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan
from orchestrator.planning.estimate import Speeds, device_for, disk_of, fit, outlook, schedule
from orchestrator.planning.plan import step_work
from orchestrator.sweep.devices import PARTS
from orchestrator.sweep.trial import Resources, Trial, TrialRecord, TrialState
from orchestrator.system.hardware import Gpu, Node

HERE = Node(name="here", cpu="some CPU", cpus=2)
ON_CPU = device_for(Resources(), [HERE])
BASE = 0.01
"""Seconds of a step, of which a network's multiply-adds take more."""


def took(trial: Trial, make_record, seconds: float, device: str = "some CPU", threads: int = 1) -> TrialRecord:
    """Ended, with so many seconds a step."""
    record: TrialRecord = make_record(trial, None)
    result = replace(record.result, seconds=seconds * record.result.steps)
    return replace(record, result=result, provenance={"device_name": device, "threads": threads})


def known(trials: Sequence[Trial], make_record, seconds: Callable[[Trial], float]) -> Speeds:
    return Speeds.from_records(took(trial, make_record, seconds(trial)) for trial in trials)


def of_width(make_trial, c: int, regime: Regime | None = None, **changes: object) -> Trial:
    trial: Trial = make_trial(regime or Joint(), network=NetworkConfig(n=1, c=c), **changes)
    return trial


# Where a time comes from


def test_the_time_of_a_shape_is_the_median_of_its_trials_on_this_device(make_trial, make_record) -> None:
    trials = [of_width(make_trial, 8, seed=seed) for seed in range(3)]
    times = dict(zip((trial.id for trial in trials), (0.03, 0.01, 0.02), strict=True))
    speeds = known(trials, make_record, lambda trial: times[trial.id])
    step = speeds.step(of_width(make_trial, 8, seed=9).config, ON_CPU)
    assert (step.value, str(step)) == (pytest.approx(0.02), "measured (n=3)")


@pytest.mark.parametrize(("device", "threads"), [("another CPU", 1), ("some CPU", 2)])
def test_another_device_or_number_of_threads_says_nothing(make_trial, make_record, device, threads) -> None:
    trial = of_width(make_trial, 8)
    speeds = Speeds.from_records([took(trial, make_record, 0.01, device, threads)])
    assert speeds.step(trial.config, ON_CPU).value is None
    assert str(speeds.step(trial.config, ON_CPU)) == "unknown"
    assert speeds.step(trial.config, None).value is None


def test_a_trial_that_moved_between_devices_says_nothing(make_trial, make_record) -> None:
    record = took(of_width(make_trial, 8), make_record, 0.01)
    moved = replace(record, provenance=record.provenance | {"resumed_elsewhere": "a; b"})
    assert Speeds.from_records([moved]).step(of_width(make_trial, 8).config, ON_CPU).value is None


def test_a_near_shape_is_scaled_by_multiply_adds_and_a_far_one_is_not(make_trial, make_record) -> None:
    small, near, far = (of_width(make_trial, c) for c in (8, 10, 16))
    speeds = known([small], make_record, lambda _: 0.01)
    step = speeds.step(near.config, ON_CPU)
    assert step.source == "scaled"
    assert step.value == pytest.approx(0.01 * step_work(near.config) / step_work(small.config))
    assert speeds.step(far.config, ON_CPU).source == "unknown"
    assert speeds.step(of_width(make_trial, 8, Opt(unit=3)).config, ON_CPU).source == "unknown"  # of another kind


def test_a_model_of_three_shapes_finds_the_constant_and_the_rate(make_trial, make_record) -> None:
    def seconds(trial: Trial) -> float:
        return BASE + 1e-9 * step_work(trial.config)

    speeds = known([of_width(make_trial, c) for c in (4, 8, 16)], make_record, seconds)
    other = of_width(make_trial, 8, Opt(unit=2))  # of a kind that never ran
    step = speeds.step(other.config, ON_CPU)
    assert str(step) == "model (n=3)"
    assert step.value == pytest.approx(seconds(other))
    assert speeds.step(of_width(make_trial, 128).config, ON_CPU).source == "unknown"  # too far beyond


def test_strategies_are_shapes_of_their_own_and_their_parameters_are_not(make_trial, make_record) -> None:
    speeds = known([of_width(make_trial, 8, Joint(strategy=Aann()))], make_record, lambda _: 0.01)
    assert speeds.step(of_width(make_trial, 8, Joint(strategy=Aann(gamma=2.0))).config, ON_CPU).source == "measured"
    assert speeds.step(of_width(make_trial, 8).config, ON_CPU).source == "scaled"  # from aann, equal in multiply-adds


def test_gradient_surgery_takes_its_measurements_more_than_what_is_known_of_others(make_trial, make_record) -> None:
    """A pass takes 1, its way back 2: in every fourth step a pass and three ways back are 7 beside 4 times 3."""
    speeds = known([of_width(make_trial, 8)], make_record, lambda _: 0.01)
    surgery = of_width(make_trial, 8, Joint(strategy=PCGrad(groups=3, every=4)))
    step = speeds.step(surgery.config, ON_CPU)
    assert (step.source, step.value) == ("scaled", pytest.approx(0.01 * (4 * 3 + 7) / (4 * 3)))
    often, seldom = (Joint(strategy=PCGrad(every=every)) for every in (1, 10))
    measured = known([of_width(make_trial, 8, often)], make_record, lambda _: 0.05)
    assert measured.step(of_width(make_trial, 8, seldom).config, ON_CPU).source == "unknown"  # less than half


positive = st.floats(1e-3, 1e3)


@given(st.floats(0, 10), st.floats(0, 10), st.lists(positive, min_size=2, unique=True))
def test_a_line_is_found_from_its_points(a, b, xs) -> None:
    points = [(x, a + b * x) for x in xs if a + b * x > 1e-6]
    if len(points) == len(xs) and max(xs) > 1.1 * min(xs):
        found = fit(points)
        assert all(found[0] + found[1] * x == pytest.approx(y, rel=1e-3) for x, y in points)


@given(st.lists(st.tuples(positive, positive), min_size=2))
def test_neither_the_constant_nor_the_rate_is_negative(points) -> None:
    assert min(fit(points)) >= 0


# Sums


def test_the_outlook_of_a_plan_adds_up(make_trial, make_record, ledger: Ledger) -> None:
    trials = [of_width(make_trial, 8, seed=seed) for seed in range(4)]
    record = replace(took(trials[0], make_record, 0.5), trial_id=trials[0].id)
    ledger.finish(ledger.begin(trials[0]), record)
    found = outlook(plan.make(trials, ledger), ledger, [HERE])
    assert [it.seconds.value for it in found.to_run] == pytest.approx([22.0] * 3)
    assert sum(it.hours or 0 for it in found.to_run) == pytest.approx(3 * 22 / 3600)
    assert found.makespan == pytest.approx(44)  # three on two CPUs
    assert found.estimates[-1].hours == 0  # it has ended


def test_what_is_unknown_of_one_trial_is_unknown_of_the_sum(make_trial, make_record, ledger: Ledger) -> None:
    finished = of_width(make_trial, 8)
    ledger.finish(ledger.begin(finished), took(finished, make_record, 0.5))
    found = outlook(plan.make([of_width(make_trial, c, seed=1) for c in (8, 64)], ledger), ledger, [HERE])
    assert {it.seconds.source for it in found.to_run} == {"measured", "unknown"}
    assert found.makespan is None


def test_no_machine_no_time(make_trial, make_record, ledger: Ledger) -> None:
    trial = of_width(make_trial, 8)
    asks = plan.sized([trial], gpus=0.5)
    found = outlook(plan.make(asks, ledger), ledger, [HERE])
    assert (found.makespan, found.estimates[0].hours) == (None, None)


def test_disk_is_that_of_a_trial_of_the_same_length_or_computed(make_trial, make_record, ledger: Ledger) -> None:
    ended, other = of_width(make_trial, 8), of_width(make_trial, 16)
    attempt = ledger.begin(ended)
    ledger.finish(attempt, took(ended, make_record, 0.5))
    (ledger.folder(ended.id) / "checkpoints").mkdir()
    (ledger.folder(ended.id) / "checkpoints" / "step-000000044.ckpt").write_bytes(b"x" * 5000)
    trials = [of_width(make_trial, 8, seed=1), other]
    disks = {it.entry.trial.id: it.disk for it in outlook(plan.make(trials, ledger), ledger, [HERE]).to_run}
    assert disks[trials[0].id].source == "measured"
    assert 5000 < (disks[trials[0].id].value or 0) < 8000
    assert (disks[other.id].source, disks[other.id].value) == ("computed", disk_of(other))


def test_the_computed_disk_is_about_that_of_a_real_trial(make_trial, ledger: Ledger, tmp_path) -> None:
    trial: Trial = make_trial(network=NetworkConfig(n=2, c=8))
    where = WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    taken = sum(path.stat().st_size for path in ledger.folder(trial.id).rglob("*") if path.is_file())
    assert disk_of(trial) == pytest.approx(taken, rel=0.2)


# Makespan


def brute_force(seconds: Sequence[float], slots: int) -> float:
    """The shortest there is."""
    return min(
        max(sum(time for time, place in zip(seconds, places, strict=True) if place == slot) for slot in range(slots))
        for places in product(range(slots), repeat=len(seconds))
    )


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_within_a_third_of_the_best(seconds, slots) -> None:
    """Graham's bound for LPT: 4/3 - 1/(3m)."""
    jobs = [(float(time), Resources(cpus=1)) for time in sorted(seconds, reverse=True)]
    ends = schedule(jobs, [Node(name="a", cpu="", cpus=slots)])
    best = brute_force(seconds, slots)
    assert best <= max(ends) <= best * (4 / 3 - 1 / (3 * slots)) + 1e-9


requests = st.tuples(st.floats(0.1, 10), st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.3333, 0.5, 1.0]))


@given(st.lists(requests, max_size=30), st.lists(st.integers(0, 2), min_size=1, max_size=3))
def test_nothing_is_ever_given_twice(requests, gpus) -> None:
    """At each moment the trials that run have no more CPUs and GPUs than there are."""
    card = Gpu(name="card", memory=0)
    nodes = [Node(name=str(place), cpu="", cpus=4, gpus=(card,) * count) for place, count in enumerate([*gpus, 1])]
    jobs = [(seconds, Resources(cpus=cpus, gpus=share)) for seconds, cpus, share in requests]
    ends = schedule(jobs, nodes)
    spans = [(end - seconds, end, it) for end, (seconds, it) in zip(ends, jobs, strict=True)]
    for moment, _, _ in spans:
        at_work = [it for start, end, it in spans if start <= moment < end - 1e-9]
        assert sum(it.cpus for it in at_work) <= sum(node.cpus for node in nodes)
        assert sum(round(it.share * PARTS) for it in at_work) <= PARTS * sum(len(node.gpus) for node in nodes)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("data", "name"), "mars"),
        (("regime", "name"), "spooky"),
        (("regime", "strategy"), {"name": "mine"}),
        (("network", "n"), 10**9),
        (("training", "steps"), "many"),
        (("network",), []),
    ],
)
def test_a_trial_that_this_version_cannot_read_is_named_and_left_out(
    make_trial, make_record, place, value, caplog
) -> None:
    trial = make_trial()
    good, strange = make_record(trial, (1.0, 1.0, 1.0)), make_record(trial, (1.0, 1.0, 1.0))
    config = json.loads(json.dumps(strange.config))
    inner = config
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    strange = replace(strange, trial_id="0123456789abcdef", config=config)
    both, alone = Speeds.from_records([strange, good]), Speeds.from_records([good])
    assert both.ids == alone.ids
    assert "trial 0123456789abcdef cannot be read by this version: " in caplog.text
