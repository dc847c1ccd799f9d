"""Ray's start and its end in this process. Imported after ``environment.prepare_ray``, as is all that imports Ray."""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from functools import partial
from io import TextIOBase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import services
from ray.job_config import JobConfig

from anytime_core.files import LocalFolder
from orchestrator.cluster import client_server, head_watchdog, ray_folder
from orchestrator.errors import ClusterError
from orchestrator.redaction import redacted
from orchestrator.system import limits
from orchestrator.system.hardware import Node, other_gpus, this_machine
from orchestrator.system.reaper import reaping
from orchestrator.text import ADDRESSES, FromEnvironment, first_line, named

LOG = "ray.log"
CONNECT_SECONDS = 5.0
CLIENT_SECONDS = 30.0
"""For how long a server for Ray's clients that fails to serve us is asked again; once at least, as it can take a minute
to say so."""
CLIENT_PAUSE = 1.0
"""Seconds before it is asked again; twice as long each time."""


@contextmanager
def cluster(
    address: str | None, logs: LocalFolder, lost: Callable[[], object] = lambda: None, offer: Node | None = None
) -> Iterator[None]:
    """A Ray cluster: the one at ``address``, or one of this machine's own, which gives out what ``offer`` has and ends
    with the block. Ray's logs go into the folder ``logs``. ``lost`` is called, from a thread, once the head is gone:
    the calls of the block to Ray may never return.

    Raises ClusterError if there is none at the address, or Ray cannot start here.
    """
    if address:
        _check_reachable(address)
    elif faults := limits.certain():
        raise ClusterError("\n  ".join(["Ray cannot start on this machine", *faults]))
    with _LogFile(logs) as log_to, ExitStack() as stack:
        folder = None if address else ray_folder.make()
        if folder:
            stack.enter_context(_marked(stack.enter_context(reaping(folder))))
        stack.enter_context(redirect_stdout(log_to))  # until the end: what Ray keeps back it prints then
        stack.callback(_shut_down)  # also after an interrupted start
        try:
            options: dict[str, Any] = {"job_config": _OwnImports()}
            if folder:
                options |= _own(offer or this_machine()) | {"_temp_dir": str(ray_folder.inner(folder))}
            elif address:
                options |= {"address": str(_behind(address))}  # Ray takes no other kind of str
            with _daemons_apart():
                ray.init(**options, log_to_driver=False, logging_level=logging.WARNING, configure_logging=False)
        except ClusterError:
            raise
        except Exception as error:  # whatever Ray raises, a bare Exception among it
            raise ClusterError(_why_not(address, error, logs, folder)) from error
        stack.enter_context(_logged_to(log_to))  # not before: Ray's start takes all handlers away
        with head_watchdog.watched(
            ray.get_runtime_context().gcs_address, head_watchdog.patience(own=not address), lost
        ):
            yield


@contextmanager
def _daemons_apart() -> Iterator[None]:
    """Ray's daemons get a session of their own. What is meant for this command, such as SIGTERM for its group from a
    batch system or SIGHUP from a closed terminal, must not end them while trials save their state."""
    before = services.ConsolePopen
    services.ConsolePopen = partial(before, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = before


def _why_not(address: str | None, error: Exception, logs: LocalFolder, folder: Path | None) -> str:
    """Why there is no cluster, and what to do about it."""
    reason = first_line(error)
    if address:
        return f"no Ray cluster at {named(address)}: {reason}; allowed: {ADDRESSES}{_way_out(address)}"
    places = [logs.address(LOG), *([ray_folder.keep_logs(folder, logs)] if folder else [])]
    faults = limits.likely() or [f"why is in {' and '.join(places)}"]
    return "\n  ".join([f"Ray cannot start on this machine: {reason}", *faults])


def _own(offer: Node) -> dict[str, Any]:
    """How Ray starts a cluster that gives out just that. By itself Ray counts all CPUs of the machine, whatever CPU set
    this process has. The GPUs it counts itself where nvidia-smi does not know them, such as AMD's."""
    known = {} if other_gpus() else {"num_gpus": len(offer.gpus)}
    return {"include_dashboard": False, "address": "local", "num_cpus": int(offer.cpus), **known}


class _OwnImports(JobConfig):  # type: ignore[misc]
    """Keeps the folder that the command was given in, and that of its script, off the workers' path. Ray would put them
    first, and a worker would import whatever lies there: another checkout, or somebody's ``torch.py``."""

    @property
    def _py_driver_sys_path(self) -> list[str]:
        return []  # a new one each time: Ray adds to it

    @_py_driver_sys_path.setter
    def _py_driver_sys_path(self, paths: list[str]) -> None:
        pass


def _shut_down() -> None:
    """Without garbage collection: Ray ends this process at once, with exit code 1, where another thread frees a
    reference while Ray's worker goes down."""
    gc.disable()
    _let_collector_end()
    try:
        ray.shutdown()
    finally:
        gc.enable()


def _let_collector_end() -> None:
    """A collection under way in another thread goes on; until it has ended, none can be made here."""
    ended: list[str] = []

    def note(phase: str, info: Mapping[str, int]) -> None:
        ended.append(phase)

    gc.callbacks.append(note)
    try:
        while not ended:
            gc.collect()
            time.sleep(0)
    finally:
        gc.callbacks.remove(note)


@contextmanager
def _marked(mark: Mapping[str, str]) -> Iterator[None]:
    """Whatever this process starts inherits the mark."""
    os.environ.update(mark)
    try:
        yield
    finally:
        for name in mark:
            os.environ.pop(name, None)


def _behind(address: str) -> str:
    """Of a server for Ray's clients the cluster that it serves: Tune, run by a client, would call nobody back.

    The server starts a process for each client, which a busy machine can keep from coming up: so it is asked again.
    """
    if not address.startswith("ray://"):
        return address
    began, until, pause, tries = time.time(), time.monotonic() + CLIENT_SECONDS, CLIENT_PAUSE, 1
    while True:
        try:
            return _served_by(address)
        except ConnectionAbortedError as error:
            if tries > 1 and time.monotonic() + pause > until:
                why = client_server.why(str(error), address, began)
                raise ClusterError(f"the server at {address} failed to serve us, {tries} times: {why}") from error
        time.sleep(pause)
        pause, tries = 2 * pause, tries + 1


def _served_by(address: str) -> str:
    client = ray.init(str(address))
    try:
        return str(ray.get_runtime_context().gcs_address)
    finally:
        client.disconnect()


def _way_out(address: str) -> str:
    """For a user who may not know that a variable is set."""
    return f"; unset {address.variable} to use this machine alone" if isinstance(address, FromEnvironment) else ""


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        target = (parts.hostname, parts.port) if parts.hostname and parts.port else None
    except ValueError:  # whose text may hold a part of a password
        fault = "it holds no host and port"
        raise ClusterError(f"no Ray cluster at {named(address)}: {fault}; allowed: {ADDRESSES}") from None
    if target:
        try:
            socket.create_connection(target, timeout=CONNECT_SECONDS).close()
        except OSError as error:
            reason = error.strerror or error
            raise ClusterError(f"no Ray cluster at {named(address)}: {reason}{_way_out(address)}") from error


class _LogFile(TextIOBase):
    """Text that is added to a file as far as there is space: a full disk must not end what is logged."""

    def __init__(self, logs: LocalFolder) -> None:
        self._logs = logs

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._logs.append(LOG, text.encode(errors="replace"))
        return len(text)


class _Redacting(logging.Formatter):
    """Leaves secrets out of what is logged, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


@contextmanager
def _logged_to(file: TextIOBase) -> Iterator[None]:
    """Sends what Ray logs in this process to a file, not to the user's terminal."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
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
