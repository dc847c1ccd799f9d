"""A plan is for this machine or for the nodes of a cluster, which must be able to hold its trials."""

from __future__ import annotations

import os
import sys

import pytest

from orchestrator.cluster import capacity
from orchestrator.errors import ClusterError
from orchestrator.planning import packing
from orchestrator.sweep.trial import Resources
from orchestrator.system.hardware import Node, cpu_count

SMALL = Node(name="small", cpu="", cpus=1)


def test_without_an_address_the_machine_is_this_one(make_trial) -> None:
    (node,) = capacity.machines_for([make_trial(resources=Resources(cpus=4096))], None)
    assert 1 <= node.cpus < 4096


def test_a_cluster_is_asked_and_must_hold_every_trial(make_trial, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "_ask", {"auto": [SMALL]}.__getitem__)
    assert capacity.machines_for([make_trial()], "auto") == [SMALL]
    with pytest.raises(ClusterError, match="a trial asks for 2 CPUs and 0 GPUs, and no node has that"):
        capacity.machines_for([make_trial(), make_trial(resources=Resources(cpus=2))], "auto")


def test_slots_leave_room_on_this_machine_and_say_so(make_trial) -> None:
    (node,) = capacity.machines_for([make_trial()], None, slots=1)
    assert node.cpus == 1
    if cpu_count() > 1:
        assert packing.notes_on_limits([node]) == [f"{node.name} offers {node.limits[0]}"]
        assert node.limits[0].endswith("CPUs by --slots 1")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the CPU set of a process")
def test_a_process_on_one_cpu_has_one_in_the_plan(make_trial) -> None:
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everything)})
    try:
        (node,) = capacity.machines_for([make_trial()], None)
    finally:
        os.sched_setaffinity(0, everything)
    assert node.cpus == 1
