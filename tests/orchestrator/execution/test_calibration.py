"""Steps that are thrown away, timed for real on digits, and what a plan makes of them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from anytime_core.config import DataConfig, Midfeat, NetworkConfig, NoGrad, Opt, Regime, to_dict
from orchestrator.execution import calibration, stopwatch
from orchestrator.execution.worker import WorkerContext
from orchestrator.ledger import calibrations
from orchestrator.ledger.calibrations import Calibration, StepTimes
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan
from orchestrator.planning.estimate import Speeds, outlook
from orchestrator.sweep.devices import device_of
from orchestrator.sweep.trial import Resources, Trial, trial_id
from orchestrator.system.hardware import Node, cpu_model

HERE = Node(name="here", cpu=cpu_model(), cpus=2)
ANOTHER = Node(name="there", cpu="another CPU", cpus=8)


@pytest.fixture
def where(ledger: Ledger, tmp_path) -> WorkerContext:
    return WorkerContext(storage=ledger.storage, data_root=tmp_path / "no data")


def of_width(make_trial, c: int, regime: Regime | None = None, **changes: Any) -> Trial:
    trial: Trial = make_trial(network=NetworkConfig(n=1, c=c), **changes)
    config = replace(trial.config, regime=regime or trial.config.regime)
    return replace(trial, id=trial_id(config), config=config)


def test_nothing_is_unknown_after_a_second_or_two(make_trial, ledger: Ledger, where: WorkerContext) -> None:
    trials = [of_width(make_trial, c, seed=seed) for c in (2, 4) for seed in (0, 1)]
    trials += [of_width(make_trial, 2, Opt(unit=1)), of_width(make_trial, 2, Midfeat())]
    planned = plan.make(trials, ledger)
    assert outlook(planned, ledger, [HERE]).makespan is None
    found = calibration.batches(trials, [HERE], Speeds.of(ledger))
    assert [(len(batch.configs), batch.at_once) for batch in found] == [(4, 2)]
    for _ in range(2):  # on a busy machine each process measures one at least, what is missing first
        (note,) = calibration.calibrate(found, where, ledger, 1.0)
        after = outlook(planned, ledger, [HERE])
        if after.sources == {"calibrated": 6}:
            break
        found = calibration.batches(trials, [HERE], Speeds.of(ledger))
    assert note.endswith(" of 4 shapes, 2 at once")
    assert {str(it.seconds) for it in after.to_run} == {"calibrated (n=5)"}
    assert all(0 < it.seconds.least <= it.seconds.value <= it.seconds.most < 600 for it in after.to_run)
    assert ledger.begun() == set()  # no trial, no attempt
    (kept,) = calibrations.read(ledger)
    assert {"python", "torch", "numpy"} <= kept.on.keys()
    assert (kept.device.name, kept.device.part, kept.host) == (cpu_model(), 1, "here")


def test_a_trial_that_was_trained_wins(make_trial, make_record, ledger: Ledger) -> None:
    trial, other = of_width(make_trial, 2), of_width(make_trial, 4)
    record = replace(make_record(trial, (1.0,) * 3), provenance={"device_name": cpu_model(), "threads": 1})
    device = device_of(record)
    assert device
    shapes = [StepTimes(config=to_dict(it.config), step=(9.0,), epoch=0.0, evaluation=0.0) for it in (trial, other)]
    known = Calibration(device=device, on={}, host="", code="", time="", shapes=tuple(shapes))
    speeds = Speeds.from_records([record], [known])
    assert [speeds.source(it.config, device) for it in (trial, other)] == ["measured", "calibrated"]
    assert speeds.step(trial.config, device).value == pytest.approx(1.5 / 44)
    assert [batch.configs for batch in calibration.batches([trial, other], [HERE], speeds)] == [(other.config,)]


def test_one_node_of_each_kind_and_as_many_at_once_as_trials_would_run(make_trial) -> None:
    trials = [of_width(make_trial, c, resources=Resources(cpus=2)) for c in (2, 4, 8, 16)]
    found = calibration.batches(trials, [HERE, replace(HERE, name="twin"), ANOTHER], Speeds({}, {}))
    assert [(batch.node.name, batch.at_once, batch.device.part) for batch in found] == [("here", 1, 2), ("there", 4, 2)]
    on_gpus = [replace(trial, resources=Resources(gpus=1.0)) for trial in trials]
    assert calibration.batches(on_gpus, [HERE], Speeds({}, {})) == []


def test_the_ends_and_the_middle_come_first_and_what_is_known_last(make_trial) -> None:
    widths = (2, 4, 6, 8, 16)
    trials = {c: of_width(make_trial, c) for c in widths}
    (batch,) = calibration.batches([*trials.values()], [HERE], Speeds({}, {}))
    assert [config.network.c for config in batch.configs] == [2, 16, 6, 4, 8]
    times = StepTimes(config=to_dict(trials[2].config), step=(1.0,), epoch=0.0, evaluation=0.0)
    known = Calibration(device=batch.device, on={}, host="", code="", time="", shapes=(times,))
    (batch,) = calibration.batches([*trials.values()], [HERE], Speeds.from_records([], [known]))
    assert [config.network.c for config in batch.configs] == [16, 6, 4, 8, 2]


def test_what_there_is_no_time_for_is_left_out_and_a_fault_is_told(make_trial, where: WorkerContext) -> None:
    good, bad = of_width(make_trial, 2).config, of_width(make_trial, 4).config
    bad = replace(bad, data=DataConfig(name="svhn", flip=True))
    answer = stopwatch.measure(where, pickle.dumps([bad, good]), Resources(), 0.5)
    assert [it.config for it in answer.times] == [to_dict(good)]
    assert ["never mirrored" in fault for fault in answer.faults] == [True]
    none = stopwatch.measure(where, pickle.dumps([good, good, good]), Resources(), 0.0)
    assert len(none.times) == 1


def test_a_process_that_dies_is_told(make_trial, ledger: Ledger, where: WorkerContext, monkeypatch) -> None:
    monkeypatch.setattr(calibration, "MAIN", "import os; os._exit(9)")
    found = calibration.batches([of_width(make_trial, 2)], [HERE], Speeds({}, {}))
    notes = calibration.calibrate(found, where, ledger, 1.0)
    assert notes[1:] == ["not calibrated: a process ended with exit code 9"]
    assert calibrations.read(ledger) == []


def test_phases_weigh_by_their_steps(make_trial) -> None:
    stages = of_width(make_trial, 2, NoGrad(variant="stages")).config
    stages = replace(stages, network=NetworkConfig(n=2, c=2))
    assert stopwatch.measured_phases(stages.phases) == [0, 3, 5]
    assert stopwatch.weights(stages, [0, 3, 5]) == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    assert stopwatch.weights(stages, range(6)) == pytest.approx([1 / 6] * 6)


def test_a_step_that_is_too_long_is_measured_on_fewer_images_and_counts_as_the_whole(make_trial, monkeypatch) -> None:
    """A step of n images takes a second and a hundredth of each; that of 64 is known from smaller ones."""
    config = of_width(make_trial, 2).config
    assert stopwatch.fitting_batch(config, 1e9) == (64, 1.0)
    monkeypatch.setattr(stopwatch, "_step", lambda config, batch: 1 + 0.01 * batch)
    size, factor = stopwatch.fitting_batch(config, 30.0)  # 20 steps of 32 images fit, of 64 do not
    assert (size, factor * 1.32) == (32, pytest.approx(1.64))
    size, factor = stopwatch.fitting_batch(config, 26.0)
    assert (size, factor * 1.08) == (8, pytest.approx(1.64))
    monkeypatch.setattr(stopwatch, "_step", lambda config, batch: 9.0 * batch)
    assert stopwatch.fitting_batch(config, 21.0) == (2, 32.0)
    monkeypatch.setattr(stopwatch, "fitting_batch", lambda config, seconds: (2, 32.0))
    few = stopwatch.times_of(config, Resources(), 0.0)
    assert len(few.step) == stopwatch.TURNS


def test_a_line_of_sizes_is_within_bounds_on_a_busy_machine() -> None:
    assert stopwatch.longer({2: 1.0, 8: 0.9}, 8, 128) == 1.0
    assert stopwatch.longer({2: 0.1, 8: 3.0}, 8, 128) == 16.0
