"""A plan for a cluster that is not here: of which devices, how many, and what it then takes, in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from anytime_core.config import to_dict
from orchestrator.errors import UsageError
from orchestrator.ledger.calibrations import Calibration, StepTimes
from orchestrator.planning import packing, plan
from orchestrator.planning.estimate import Speeds, outlook
from orchestrator.planning.named_devices import node_of, refuse_misfits
from orchestrator.report.views.plan import plan_sums
from orchestrator.sweep.devices import PARTS, Device
from orchestrator.sweep.limits import Price
from orchestrator.sweep.trial import Resources

H100, SHARED, EPYC = (
    Device(name="NVIDIA H100 80GB HBM3", part=PARTS, gpu=True),
    Device(name="NVIDIA L4", part=2500, gpu=True),
    Device(name="AMD EPYC", part=1),
)
KNOWN = (H100, SHARED, EPYC)


def test_a_name_is_found_by_a_part_of_it() -> None:
    gpus, cpus = node_of("4xH100", KNOWN), node_of("16 x epyc", KNOWN)
    assert ([gpu.name for gpu in gpus.gpus], gpus.cpus, gpus.mps) == ([H100.name] * 4, math.inf, False)
    assert (cpus.cpu, cpus.cpus, cpus.gpus) == (EPYC.name, 16, ())
    assert node_of("1xL4", KNOWN).mps  # trials shared it


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("H100", "allowed: a number of GPUs"),
        ("0xH100", "allowed: a number of GPUs"),
        ("4xA100", "nothing is known of such a device; known: AMD EPYC, NVIDIA H100 80GB HBM3, NVIDIA L4"),
        ("4xNVIDIA", "several devices have this in their names; known: NVIDIA H100 80GB HBM3, NVIDIA L4"),
    ],
)
def test_what_is_no_known_device_is_said_with_those_that_are(given, said) -> None:
    with pytest.raises(UsageError) as caught:
        node_of(given, KNOWN)
    assert f"--devices {given!r}: " in str(caught.value)
    assert said in str(caught.value)


def test_trials_of_a_cpu_do_not_go_on_a_gpu(make_trial) -> None:
    on_cpu, on_gpu = make_trial(), make_trial(resources=Resources(gpus=1.0))
    gpus, cpus = node_of("2xH100", KNOWN), node_of("2xEPYC", KNOWN)
    refuse_misfits("", gpus, [on_gpu])
    refuse_misfits("", cpus, [on_cpu])
    for node, trial, option in ((gpus, on_cpu, "--gpus 1"), (cpus, on_gpu, "--gpus 0")):
        with pytest.raises(UsageError, match=option):
            refuse_misfits("2x", node, [trial])
    with pytest.raises(UsageError, match="asks for 3 CPUs"):
        refuse_misfits("2x", cpus, [make_trial(resources=Resources(cpus=3))])


def test_hours_makespan_and_money_of_gpus_that_are_not_here(make_trial, ledger) -> None:
    """5 trials of 44 steps of 1 s on 2 GPUs are 3 rounds; each step took from 0.5 to 2 s."""
    trials = [make_trial(seed=seed, resources=Resources(gpus="auto")) for seed in range(5)]
    times = StepTimes(config=to_dict(trials[0].config), step=(0.5, 1.0, 2.0), epoch=0.0, evaluation=0.0)
    known = Calibration(device=H100, on={}, host="there", code="", time="2026-01-01", shapes=(times,))
    speeds = Speeds.from_records([], [known])
    node = node_of("2xH100", speeds.devices)
    packed = packing.pack(plan.make(trials, ledger), [node], speeds).plan
    found = outlook(packed, ledger, [node], speeds, Price(amount=10.0, currency="EUR"))
    assert found.makespan == pytest.approx(3 * 44)
    lines = [*plan_sums(found)]
    hours = 5 * 44 / 3600
    assert lines[:3] == [
        "makespan on 1 node (2 NVIDIA H100 80GB HBM3): 2 min 12 s",
        f"GPU-hours: {hours:.2f} ({hours / 2:.2f} to {2 * hours:.2f})",
        f"EUR: {10 * hours:.2f} ({5 * hours:.2f} to {20 * hours:.2f}), at 10.00 for an hour of a device",
    ]
    assert lines[3].endswith(": 5 calibrated")


def test_a_share_is_only_known_as_it_was_measured(make_trial, ledger) -> None:
    trial = make_trial(resources=Resources(gpus=0.25))
    times = StepTimes(config=to_dict(trial.config), step=(1.0,), epoch=0.0, evaluation=0.0)
    known = Calibration(device=SHARED, on={}, host="", code="", time="", shapes=(times,))
    speeds = Speeds.from_records([], [known])
    node = node_of("1xL4", speeds.devices)
    assert outlook(plan.make([trial], ledger), ledger, [node], speeds).makespan == pytest.approx(44)
    alone = replace(trial, resources=Resources(gpus=1.0))
    assert outlook(plan.make([alone], ledger), ledger, [node], speeds).makespan is None
