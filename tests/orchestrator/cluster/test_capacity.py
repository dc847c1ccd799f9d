"""A plan is for this machine or for the nodes of a cluster, which must be able to hold its trials."""

from __future__ import annotations

import pytest

from orchestrator.cluster import capacity
from orchestrator.errors import ClusterError
from orchestrator.sweep.trial import Resources
from orchestrator.system.hardware import Node

SMALL = Node(name="small", cpu="", cpus=1)


def test_without_an_address_the_machine_is_this_one(make_trial) -> None:
    (node,) = capacity.machines_for([make_trial(resources=Resources(cpus=4096))], None)
    assert 1 <= node.cpus < 4096


def test_a_cluster_is_asked_and_must_hold_every_trial(make_trial, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "_ask", {"auto": [SMALL]}.__getitem__)
    assert capacity.machines_for([make_trial()], "auto") == [SMALL]
    with pytest.raises(ClusterError, match="a trial asks for 2 CPUs and 0 GPUs, and no node has that"):
        capacity.machines_for([make_trial(), make_trial(resources=Resources(cpus=2))], "auto")
