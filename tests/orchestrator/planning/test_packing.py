"""Trials that leave their share of a GPU open are packed, and never so that memory or a GPU is given twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.config import NetworkConfig
from anytime_core.networks import MSDNet
from orchestrator.errors import ClusterError
from orchestrator.planning import packing
from orchestrator.planning import plan as planning
from orchestrator.planning.estimate import Speeds
from orchestrator.sweep.trial import Resources
from orchestrator.system.hardware import Gpu, Node

GIB = 2**30
CARD = Gpu(name="card", memory=80 * GIB)
BOX = Node(name="box", cpu="", cpus=16, gpus=(CARD, CARD), mps=True)
NOTHING = Speeds.from_records([])


def shares(make_trial, ledger, node: Node, *widths: int, gpus: float | str = "auto", need: int = GIB) -> list[float]:
    trials = [
        make_trial(network=NetworkConfig(n=1, c=c), resources=Resources(gpus=gpus), seed=seed)
        for seed, c in enumerate(widths)
    ]
    packed = packing.pack(planning.make(trials, ledger), [node], NOTHING, lambda _: need)
    found = {entry.trial.id: entry.trial.resources.share for entry in packed.plan.entries}
    return [found[trial.id] for trial in trials]


def test_narrow_networks_share_a_gpu_and_wide_ones_have_it_alone(make_trial, ledger) -> None:
    assert shares(make_trial, ledger, BOX, 8, 16, 32, 64, 128) == [0.25, 0.25, 0.5, 1.0, 1.0]


def test_what_the_user_gives_stands(make_trial, ledger) -> None:
    assert shares(make_trial, ledger, BOX, 16, gpus=0.1) == [0.1]
    assert shares(make_trial, ledger, BOX, 16, gpus=0) == [0]


def test_fewer_fit_where_memory_is_short(make_trial, ledger) -> None:
    assert shares(make_trial, ledger, BOX, 16, need=30 * GIB) == [0.5]
    assert shares(make_trial, ledger, BOX, 16, need=90 * GIB) == [1.0]


def test_what_others_use_is_not_there(make_trial, ledger) -> None:
    used = replace(BOX, gpus=(CARD, replace(CARD, used=78 * GIB)))
    assert shares(make_trial, ledger, used, 16) == [1.0]


@pytest.mark.parametrize("node", [replace(BOX, mps=False), replace(BOX, gpus=(replace(CARD, memory=0),))])
def test_without_mps_or_without_a_known_memory_a_trial_is_alone(make_trial, ledger, node) -> None:
    assert shares(make_trial, ledger, node, 8) == [1.0]


def test_a_network_that_is_no_resnet_is_alone_until_it_is_measured(make_trial, ledger) -> None:
    trial = make_trial(network=MSDNet(), resources=Resources(gpus="auto"))
    packed = packing.pack(planning.make([trial], ledger), [BOX], NOTHING)
    assert [entry.trial.resources.share for entry in packed.plan.entries] == [1.0]
    assert packed.notes == ("one trial a GPU for 1 trial (not measured)",)
    assert packing.share(trial.config, 80 * GIB, True, {10_000: 0.01, 2500: 0.02}, GIB).k == 4


def test_where_mps_does_not_run_it_is_said(make_trial, ledger) -> None:
    plan = planning.make([make_trial(resources=Resources(gpus="auto"))], ledger)
    (first, second) = packing.pack(plan, [replace(BOX, mps=False)], NOTHING).notes
    assert first == "one trial a GPU for 1 trial (no MPS)"
    assert second.startswith("no NVIDIA MPS on box: trials on one GPU would only take turns")


def test_what_was_measured_counts_more_than_the_default(make_trial, make_record, ledger) -> None:
    """By twos 2/0.015 steps a second, alone 1/0.01, by fours 4/0.05."""
    trial = make_trial(resources=Resources(gpus="auto"))
    records = []
    for share, seconds in ((1.0, 0.01), (0.5, 0.015), (0.25, 0.05)):
        record = make_record(trial, None)
        result = replace(record.result, device="card", seconds=seconds * record.result.steps)
        records.append(replace(record, result=result, provenance={"device_name": "card", "gpu_share": share}))
    packed = packing.pack(planning.make([trial], ledger), [BOX], Speeds.from_records(records))
    assert packed.plan.entries[0].trial.resources.gpus == 0.5
    assert packed.notes == ("2 trials a GPU for 1 trial (measured)",)


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(0, 100 * GIB), st.integers(1, 64)), min_size=1, max_size=40),
    st.dictionaries(st.integers(1, 10_000), st.floats(1e-4, 1)),
)
def test_whatever_comes_together_on_a_gpu_fits(make_trial, room_gib, wanted, measured) -> None:
    """Trials fill a GPU in any order as long as their shares do: never above one, nor above its memory."""
    config, room = make_trial().config, room_gib * GIB
    full, taken = 0.0, 0
    for need, c in wanted:
        found = packing.share(replace(config, network=NetworkConfig(n=1, c=c)), room, True, measured, need)
        assert found.k * found.gpus <= 1
        if found.k == 1:  # alone on it, whether it fits or not
            continue
        if full + found.gpus <= 1:
            full, taken = full + found.gpus, taken + need
    assert full <= 1
    assert taken <= room


# What cannot be had


def test_all_that_no_node_can_hold_is_refused_at_once(make_trial) -> None:
    trials = [
        make_trial(resources=Resources(cpus=32)),
        make_trial(resources=Resources(cpus=32), seed=1),
        make_trial(resources=Resources(cpus=1, gpus=0.5)),
        make_trial(resources=Resources(cpus=16)),
    ]
    with pytest.raises(ClusterError) as refused:
        packing.refuse(trials, [replace(BOX, gpus=())])
    assert str(refused.value).splitlines() == [
        "each of 2 trials asks for 32 CPUs and 0 GPUs, and no node has that",
        "a trial asks for 1 CPU and 0.5 GPUs, and no node has that",
        "box has 16 CPUs and 0 GPUs; change the sweep's resources, or give --cpus, or --gpus 0 to train on CPUs",
    ]
    packing.refuse(trials[3:], [BOX])


def test_what_this_machine_cannot_hold_is_noted_and_not_refused(make_trial) -> None:
    trials = [make_trial(resources=Resources(cpus=cpus, gpus=0)) for cpus in (16, 17)]
    (note,) = packing.notes_on_faults(trials, [BOX])
    assert note.startswith("a trial asks for 17 CPUs and 0 GPUs, and no node has that here: box has 16 CPUs")
    assert note.endswith("; or --address for a cluster")
