"""What is looked at before trials start: whether this machine can hold them, and whether their data are whole."""

from __future__ import annotations

from collections.abc import Mapping

from anytime_core.data.own.source import Source
from anytime_core.errors import DataError
from orchestrator.errors import UsageError
from orchestrator.execution.sweep_run import RunSettings
from orchestrator.owndata.formats import images_of
from orchestrator.planning import estimate, packing
from orchestrator.planning.plan import Plan
from orchestrator.system.hardware import other_gpus


def check_resources(plan: Plan, settings: RunSettings) -> None:
    """Raises ClusterError for what this machine cannot have, before anything starts. What a cluster has, it is asked
    once it is there, and so is a machine whose GPUs nvidia-smi does not know."""
    if not settings.address and not other_gpus():
        trials = [entry.trial for entry in plan.to_run]
        packing.refuse(trials, [estimate.here(trials, settings.slots)])


def check_data(plan: Plan, own_data: Mapping[str, Source], settings: RunSettings) -> None:
    """Reads each data set once, which also converts it for the workers. Raises UsageError with all that is wrong."""
    faults, used = [], {entry.trial.config.data.name: entry.trial.config.data for entry in plan.to_run}
    for _, data in sorted(used.items()):
        try:
            images_of(data, own_data, settings.data_root, check_md5=settings.check_md5)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
