"""What training takes, against sums by hand; times of other devices, code or torch are not compared."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.result import EpochMetrics
from orchestrator.analysis.times import Times, training_seconds

TEXT = """\
name: timed
networks: [{n: 1, c: 2}]
datasets: [{name: digits, validation: 0}]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1, 2]
training: {steps: 66, batch_size: 64}
"""
HERE = {"device_name": "a CPU", "threads": 1, "sources": "abc", "torch": "2.13"}


@pytest.fixture(scope="module")
def lasting(make_epochs):
    """Epochs of 22 steps that last so many seconds."""

    def made(seconds: list[float]) -> list[EpochMetrics]:
        epochs = make_epochs(len(seconds), 3)
        return [replace(epoch, seconds=each) for epoch, each in zip(epochs, seconds, strict=True)]

    return made


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=9))
def test_the_first_epoch_and_disturbed_ones_count_for_little(lasting, seconds) -> None:
    found = training_seconds(lasting(seconds))
    assert found == pytest.approx(len(seconds) * median(seconds[1:]))


@pytest.mark.parametrize(
    ("seconds", "phases", "expected"),
    [
        ([], (66,), None),
        ([3.0], (22,), 3.0),
        ([9.0, 2.0, 2.0, 50.0, 2.0], (110,), 10.0),
        ([9.0, 1.0, 1.0, 9.0, 2.0, 2.0], (66, 66), 9.0),  # three epochs of 1 second, three of 2
        ([5.0, 2.0, 2.0], (22, 44), 9.0),  # a phase of one epoch has no other
    ],
)
def test_a_phase_is_its_steps_times_the_median_of_a_step(lasting, seconds, phases, expected) -> None:
    found = training_seconds(lasting(seconds), phases)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.fixture
def timed(load_text, make_record, lasting):
    """Times of a sweep, and its methods' ids: a trial's epochs last as long as its method and seed say, on a machine
    that may be changed for one of them."""

    def made(changed: dict[tuple[str, int], dict[str, object]]) -> tuple[Times, dict[str, list[str]]]:
        sweep, records, epochs, ids = load_text(TEXT), {}, {}, {"ann": [], "aann": []}
        for trial in sweep.trials:
            place = trial.cell.method, trial.cell.seed
            record = make_record(trial, (50.0,) * 3)
            records[trial.id] = replace(record, provenance=HERE | changed.get(place, {}))
            pace = (1.0 if trial.cell.method == "ann" else 1.5) + 0.1 * trial.cell.seed
            epochs[trial.id] = lasting([99.0, pace, pace])
            ids[trial.cell.method].append(trial.id)
        return Times(sweep, records, epochs.__getitem__), ids

    return made


def test_the_cost_is_the_ratio_of_medians_over_seeds(timed) -> None:
    times, ids = timed({})
    cost = times.cost(ids["aann"], ids["ann"])
    assert (cost.ratio, cost.seconds, cost.trials) == (pytest.approx(1.6 / 1.1), pytest.approx(3 * 1.6), 3)
    assert times.cost(ids["ann"], ids["ann"]).ratio == 1


OTHER = [
    {"device_name": "another CPU"},
    {"threads": 2},
    {"sources": "def"},
    {"torch": "2.12"},
    {"resumed_elsewhere": "another CPU"},
    {"device_name": None},
]


@pytest.mark.parametrize("other", OTHER, ids=lambda other: next(iter(other)))
def test_what_ran_otherwise_is_compared_with_nothing(timed, other) -> None:
    times, ids = timed({("aann", seed): other for seed in range(3)})
    assert times.cost(ids["aann"], ids["ann"]) is None
    times, ids = timed({("aann", 0): other})  # the other seeds are still compared
    assert times.cost(ids["aann"], ids["ann"]).trials == 2
    assert times.cost(ids["aann"], ids["ann"]).seconds == pytest.approx(3 * 1.65)
