"""Asks every node of a Ray cluster what it sees."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from anytime_core.files import LocalFolder
from orchestrator.cluster.probe import NodeReport, Request, look
from orchestrator.cluster.session import cluster
from orchestrator.system import hardware

ANSWER_SECONDS = 180.0
HARDWARE_SECONDS = 60.0


def ask(address: str, request: Request, logs: LocalFolder, seconds: float = ANSWER_SECONDS) -> list[NodeReport]:
    """What each living node of the cluster answers. Raises ClusterError if there is no cluster."""
    with cluster(address, logs):
        alive = [node for node in ray.nodes() if node["Alive"]]
        asked = [_there(node, look).remote(request) for node in alive]
        ray.wait(asked, num_returns=len(asked), timeout=seconds)
        return [_node(node, answer, seconds) for node, answer in zip(alive, asked, strict=True)]


def machines_at(address: str, logs: LocalFolder) -> list[hardware.Node]:
    """What the nodes of a cluster offer to trials. Raises ClusterError if there is no cluster."""
    with cluster(address, logs):
        return machines()


def machines(seconds: float = HARDWARE_SECONDS) -> list[hardware.Node]:
    """The same of the cluster that this process is connected to. Of what a node does not tell in time, the cluster's
    own word stands."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = [_there(node, hardware.this_machine).remote() for node in alive]
    answers, _ = ray.wait(asked, num_returns=len(asked), timeout=seconds)
    return [_offered(node, answer if answer in answers else None) for node, answer in zip(alive, asked, strict=True)]


@contextmanager
def connected(address: str, logs: LocalFolder) -> Iterator[None]:
    """For ``call_on``. Raises ClusterError if there is no cluster."""
    with cluster(address, logs):
        yield


def call_on(
    name: str, cpus: float, gpus: float, function: Any, calls: Sequence[tuple[Any, ...]], seconds: float
) -> list[Any]:
    """What a function answers to each of the calls, all at once, as tasks with so many CPUs and GPUs on a node that
    calls itself so; in place of an answer, why there is none."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = [machine.name for machine in machines()]
    node = alive[names.index(name)]
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    how = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0, "scheduling_strategy": strategy}
    asked = [ray.remote(**how)(function).remote(*arguments) for arguments in calls]
    ray.wait(asked, num_returns=len(asked), timeout=seconds)
    return [_said(answer, seconds) for answer in asked]


def _said(answer: Any, seconds: float) -> Any:
    try:
        return ray.get(answer, timeout=0)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(answer, force=True)
        return f"no answer in {seconds:.0f} s: others may have the node"
    except Exception as error:  # whatever was raised there, or why nothing runs there
        return _reason(error)


def _offered(node: dict[str, Any], answer: Any) -> hardware.Node:
    """As many CPUs and GPUs as Ray gives out there: what the cluster's node was started with is its limit."""
    resources = node["Resources"]
    machine = hardware.Node(name=node["NodeManagerAddress"], cpu="", cpus=0)
    if answer is not None:
        with suppress(ray.exceptions.RayError):
            machine = ray.get(answer, timeout=0)
    count = int(resources.get("GPU", 0))
    unknown = [hardware.Gpu(name="GPU", memory=0)] * count
    return replace(machine, cpus=resources.get("CPU", 0), gpus=(*machine.gpus, *unknown)[:count], limits=())


def _node(node: dict[str, Any], answer: Any, seconds: float) -> NodeReport:
    resources = node["Resources"]
    known = {"address": node["NodeManagerAddress"], "cpus": resources.get("CPU", 0), "gpus": resources.get("GPU", 0)}
    try:
        machine = ray.get(answer, timeout=0)
        before = time.time()
        there = ray.get(_there(node, _clock).remote(), timeout=seconds)
        after = time.time()
    except ray.exceptions.GetTimeoutError:
        ray.cancel(answer, force=True)
        return NodeReport(**known, error=f"no answer in {seconds:.0f} s")
    except ray.exceptions.TaskUnschedulableError:  # Ray lists a node that was killed for some seconds
        return NodeReport(**known, left=True)
    except Exception as error:  # whatever was raised there, or why nothing runs there
        return NodeReport(**known, error=_reason(error))
    return NodeReport(**known, machine=machine, skew=there - (before + after) / 2, give=(after - before) / 2)


def _there(node: dict[str, Any], function: Any) -> Any:
    """The function as a task for that node alone, which takes none of its CPUs."""
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)

    @wraps(function)
    def there(*arguments: Any) -> Any:
        with hardware.as_the_node():
            return function(*arguments)

    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(there)


def _clock() -> float:
    return time.time()


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
