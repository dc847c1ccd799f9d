"""Ray Tune runs the trials: the only module that imports Ray, after ``environment.prepare_ray``.

Each round is a fresh Tuner over what the ledger does not hold yet. Tune's own state is never read again: workers write
results and checkpoints to the ledger themselves, and the ledger decides what is left.
"""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOBase
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import ray
from ray import tune

from anytime_core.result import EpochMetrics
from orchestrator.errors import ClusterError
from orchestrator.trial import Resources, Trial
from orchestrator.worker import Outcome, Surroundings, run_trial

CONNECT_SECONDS = 5.0
RESTARTS = 3
"""How often in one round a trial starts anew after its process died."""


class Listener(Protocol):
    """Is told what happens, in the driver."""

    def started(self, trial_id: str) -> None: ...

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None: ...

    def ended(self, trial_id: str, outcome: Outcome) -> None: ...

    def lost(self, trial_id: str, reason: str, *, for_good: bool) -> None: ...


@contextmanager
def cluster(address: str | None, log_file: Path) -> Iterator[None]:
    """A Ray cluster: the one at ``address``, or one of this machine's own, which ends with the block.

    Raises ClusterError if there is none at the address.
    """
    if address:
        _check_reachable(address)
    try:
        options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False, "address": "local"}
        ray.init(**options, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ClusterError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error
    with _logged_to(log_file):  # not before: Ray's start takes all handlers away
        try:
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        target = (parts.hostname, parts.port) if parts.hostname and parts.port else None
    except ValueError as error:
        raise ClusterError(f"no Ray cluster at {address}: {error}; allowed: auto, HOST:PORT") from error
    if target:
        try:
            socket.create_connection(target, timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise ClusterError(f"no Ray cluster at {address}: {error.strerror or error}") from error


class _LogFile(TextIOBase):
    """Text that is added to a file as far as there is space: a full disk must not end what is logged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> int:
        with suppress(OSError), self._path.open("a") as file:
            file.write(text)
        return len(text)


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Sends what Ray logs and prints in this process to a file, not to the user's terminal."""
    with _LogFile(path) as file, redirect_stdout(file):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("ray")
        logger.handlers, logger.propagate = [handler], False
        for below in ("ray.tune", "ray.data"):
            logging.getLogger(below).handlers = []
        # Would name every trial at the end of a round, for want of the files that we told Tune not to write.
        logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.handlers = [logging.NullHandler()]


def slots(resources: Resources) -> int:
    """How many trials of that size the cluster runs at once. Raises ClusterError if none."""
    count = sum(
        min(
            int(node["Resources"].get("CPU", 0) // resources.cpus),
            int(node["Resources"].get("GPU", 0) / resources.gpus + 1e-9) if resources.gpus else 10**9,
        )
        for node in ray.nodes()
        if node["Alive"]
    )
    if not count:
        have = ray.cluster_resources()
        raise ClusterError(
            f"a trial asks for {resources.cpus} CPUs and {resources.gpus:g} GPUs, and no node has that: the cluster's "
            f"total is {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs; change the sweep's resources, or "
            f"give {'--cpus or --gpus' if have.get('GPU') else '--gpus 0 to train on CPUs'}"
        )
    return count


def run_round(trials: Sequence[Trial], where: Surroundings, listener: Listener, folder: Path) -> None:
    """Runs the trials in this order, as many at once as the cluster holds. ``folder`` is Tune's, and can be deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    table = {trial.id: trial for trial in trials}
    trainable = tune.with_resources(
        tune.with_parameters(_run, table=table, where=where),
        lambda config: _placement(table[config["trial"]].resources),
    )
    tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(list(table))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            callbacks=[_Relay(listener)],
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(folder, ignore_errors=True)


def _placement(resources: Resources) -> tune.PlacementGroupFactory:
    bundle = {"CPU": float(resources.cpus)} | ({"GPU": resources.gpus} if resources.gpus else {})
    return tune.PlacementGroupFactory([bundle])


def _run(config: dict[str, str], table: dict[str, Trial], where: Surroundings) -> dict[str, Any]:
    """What Tune calls on a worker. Only an id goes through its config, where other values are evaluated or rounded."""
    outcome = run_trial(table[config["trial"]], where, lambda epochs: tune.report({"epochs": epochs}))
    return {"outcome": outcome}


class _Relay(tune.Callback):  # type: ignore[misc]
    """Hands Tune's events on in our own words."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()  # Tune pickles its callbacks; in another process there is nobody to tell

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.started(trial.config["trial"])

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if epochs := result.get("epochs"):
            self._listener.progressed(trial.config["trial"], epochs)
        if outcome := result.get("outcome"):
            self._listener.ended(trial.config["trial"], outcome)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.lost(trial.config["trial"], _reason(trial), for_good=False)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.lost(trial.config["trial"], _reason(trial), for_good=True)


def _reason(trial: Any) -> str:
    """Why Tune lost a trial, in a line: the last of a traceback, or the first of Ray's own explanations."""
    error = trial.get_error()
    if error is None or isinstance(error, ray.exceptions.RayActorError):
        return "its process died"
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
