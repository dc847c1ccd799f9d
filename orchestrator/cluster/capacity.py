"""The machines that a plan is for: this one, or the nodes of a cluster. Imports Ray once it asks a cluster."""

from __future__ import annotations

from collections.abc import Collection
from tempfile import TemporaryDirectory

from anytime_core.files import LocalFolder
from orchestrator.planning import estimate, packing
from orchestrator.sweep.trial import Trial
from orchestrator.system.environment import prepare_ray
from orchestrator.system.hardware import Node


def machines_for(trials: Collection[Trial], address: str | None, slots: int | None = None) -> list[Node]:
    """Finds this machine, with at most ``slots`` CPUs, or the nodes of the cluster at ``address``.

    Raises ClusterError if no cluster answers there, or if none of its nodes can hold one of the trials.
    """
    if not address:
        return [estimate.here(trials, slots)]
    nodes = _ask(address)
    packing.refuse(trials, nodes)
    return nodes


def _ask(address: str) -> list[Node]:
    prepare_ray(own_cluster=False)
    from orchestrator.cluster import nodes

    with TemporaryDirectory() as folder:
        return nodes.machines_at(address, LocalFolder(folder))
