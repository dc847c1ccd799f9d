"""Gives the trials of a plan a Ray cluster to run on, and their workers what they need to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.execution.sweep_run import RunSettings
from orchestrator.execution.worker import WorkerContext
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import estimate, packing
from orchestrator.planning.plan import Plan
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import AUTO
from orchestrator.system.environment import prepare_ray
from orchestrator.system.hardware import Node
from orchestrator.system.sources import code_version, imported_from, sources


@contextmanager
def placed(
    plan: Plan,
    sweep: Sweep,
    settings: RunSettings,
    ledger: Ledger,
    *,
    lost: Callable[[], object],
    say: Callable[[str], object],
) -> Iterator[Plan]:
    """Connects to the cluster that was given, or starts one of this machine's own, for as long as the block lasts.

    Yields the plan, with shares of a GPU for trials that leave them open. ``lost`` is called, from a thread, once the
    cluster's head is gone. Raises ClusterError where there is no cluster, or no node can hold one of the trials.
    """
    prepare_ray(own_cluster=settings.address is None)
    from orchestrator.cluster.session import cluster
    from orchestrator.execution import scheduler

    offer = None if settings.address else here(plan, settings)
    with cluster(settings.address, ledger.sweep_files(sweep.name), lost, offer):
        packed = _packed(plan, ledger, say)
        if not settings.wait_for_nodes:
            scheduler.check_fits({entry.trial.resources for entry in packed.to_run})
        yield packed


def here(plan: Plan, settings: RunSettings) -> Node:
    """What of this machine the trials of the plan may use."""
    return estimate.here([entry.trial for entry in plan.to_run], settings.slots)


def _packed(plan: Plan, ledger: Ledger, say: Callable[[str], object]) -> Plan:
    """With the shares of a GPU that trials are given which leave that open."""
    if not any(entry.trial.resources.gpus == AUTO for entry in plan.to_run):
        return plan
    from orchestrator.cluster import nodes

    packed = packing.pack(plan, nodes.machines(), estimate.Speeds.of(ledger))
    for note in packed.notes:
        say(note)
    return packed.plan


def worker_context(sweep: Sweep, settings: RunSettings, ledger: Ledger, **more: Any) -> WorkerContext:
    """What workers need to know to do nothing with other code than this process imports. ``more`` are further fields
    of a WorkerContext."""
    return WorkerContext(
        storage=ledger.storage,
        data_root=settings.data_root.absolute(),
        check_md5=settings.check_md5,
        code_version=code_version(),
        sources=sources(),
        imports=str(imported_from("anytime_core")),
        sweep=sweep.name,
        extensions=sweep.extensions,
        own_data=sweep.own_data,
        own_process=True,
        **more,
    )
