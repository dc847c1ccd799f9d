"""Gives the trials of a plan a Ray cluster to run on, and their workers what they need to know."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

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


class Session:
    """The Ray cluster that one command's trials run on, one plan after the other: the one that was given, or one of
    this machine's own. The first plan connects to it; it is left with the block."""

    def __init__(self, sweep: str, settings: RunSettings, ledger: Ledger, say: Callable[[str], object]) -> None:
        self._sweep, self._settings, self._ledger, self._say = sweep, settings, ledger, say
        self._lost: Callable[[], object] = lambda: None
        self._stack = ExitStack()
        self._connected = False
        self.nodes: list[Node] = []
        """Of the cluster that was given, as they were when they were asked last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def place(self, plan: Plan, lost: Callable[[], object]) -> Plan:
        """The plan, with shares of a GPU for trials that leave them open. From now on a thread calls ``lost`` once the
        cluster's head is gone. Raises ClusterError where there is no cluster, or no node can hold one of the trials."""
        self._lost = lost
        self._connect(plan)
        from orchestrator.execution import scheduler

        packed = _packed(plan, self._ledger, self._say)
        if not self._settings.wait_for_nodes:
            scheduler.check_fits({entry.trial.resources for entry in packed.to_run})
        return packed

    def machines(self, plan: Plan) -> list[Node]:
        """What the trials of a placed plan may run on: this machine, or the cluster's nodes of now, which are asked."""
        if not self._settings.address:
            return [here(plan, self._settings)]
        from orchestrator.cluster import nodes

        self.nodes = nodes.machines()
        return self.nodes

    def _connect(self, plan: Plan) -> None:
        if self._connected:
            return
        address = self._settings.address
        prepare_ray(own_cluster=address is None)
        from orchestrator.cluster.session import cluster

        offer, logs = None if address else here(plan, self._settings), self._ledger.sweep_files(self._sweep)
        self._stack.enter_context(cluster(address, logs, lambda: self._lost(), offer))
        self._connected = True


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
