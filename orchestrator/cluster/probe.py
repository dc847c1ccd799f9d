"""What a machine says of itself for ``orchestrate doctor``: here, and by way of ``nodes`` on every node of a cluster.

Torch is imported in a process of its own, so that one that is broken is told and not raised.
"""

from __future__ import annotations

import fcntl
import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from anytime_core.data import cache
from anytime_core.data.own.source import Source
from anytime_core.errors import DataError
from anytime_core.files import open_plain
from orchestrator.errors import UsageError
from orchestrator.extensions import importing
from orchestrator.extensions.finding import Extension, installed_fault, is_installed
from orchestrator.ledger.storage import Location, Storage, reason, storage_at
from orchestrator.owndata import formats
from orchestrator.system.hardware import Gpu, this_machine
from orchestrator.system.sources import code_version

SAME = ("ray", "torch", "numpy")
"""Packages that must be the same on all nodes, for the numbers or for Ray."""
TORCH_SECONDS = 120.0
TORCH = """
import json, torch
answer = {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": [], "error": ""}
try:
    if torch.version.cuda:
        torch.cuda.init()
        answer["gpus"] = [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())]
except Exception as error:
    answer["error"] = str(error).splitlines()[0]
print(json.dumps(answer))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to look at. ``token`` names the folder that the driver left in the storage; "" where it could not.

    ``own_data`` are the data sets of the user's own, each with the content that trials are of.
    """

    storage: Location
    token: str
    data_root: Path
    datasets: tuple[str, ...] = ()
    own_data: tuple[tuple[Source, str], ...] = ()
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Torch:
    """``cuda`` is None in a build for CPUs; ``gpus`` are those that it can use, ``error`` why it cannot."""

    version: str = ""
    cuda: str | None = None
    gpus: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineReport:
    """``storage`` is what is wrong with the storage as seen from there, "" if nothing; ``data`` the same for each data
    set, or "not converted", and ``extensions`` for each of those; ``free`` are the bytes left where Ray puts its files.
    ``cpus``, ``gpus`` and ``memory`` are what may be used there, ``limits`` what keeps that from being all."""

    host: str
    python: str
    packages: dict[str, str]
    code: str
    cpus: int
    gpus: tuple[Gpu, ...]
    torch: Torch
    free: int
    storage: str = ""
    answer: str = ""
    data: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, str] = field(default_factory=dict)
    memory: int = 0
    limits: tuple[str, ...] = ()


NOT_CONVERTED = "not converted"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeReport:
    """What a cluster offers there. ``machine`` is None where it gave no answer: ``error`` says why, or it has ``left``.
    Its clock is ``skew`` seconds ahead of this machine's, give or take ``give`` seconds."""

    address: str
    cpus: float
    gpus: float
    machine: MachineReport | None = None
    error: str = ""
    left: bool = False
    skew: float = 0.0
    give: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.machine.host} ({self.address})" if self.machine else self.address


def look(request: Request | None = None) -> MachineReport:
    """This machine; with a request, also what it sees of the storage and the data."""
    answer, machine = f"node-{uuid4().hex}", this_machine()
    return MachineReport(
        host=socket.gethostname(),
        python=platform.python_version(),
        packages={name: installed(name) or "none" for name in SAME},
        code=code_version(),
        cpus=int(machine.cpus),
        gpus=machine.gpus,
        memory=machine.memory,
        limits=machine.limits,
        torch=_torch(),
        free=shutil.disk_usage("/tmp").free,
        storage=_storage(request, answer) if request and request.token else "",
        answer=answer,
        data=_data(request) if request else {},
        extensions={it.given: extension_fault(it) for it in request.extensions} if request else {},
    )


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _data(request: Request) -> dict[str, str]:
    if any(source.reader for source, _ in request.own_data):
        with suppress(UsageError):  # which ``extensions`` says
            importing.activate(request.extensions)
    catalogued = {name: data_fault(name, request.data_root) for name in request.datasets}
    return catalogued | {source.name: own_fault(source, content) for source, content in request.own_data}


def own_fault(source: Source, content: str) -> str:
    """The same for data of the user's own, which must be those that trials are of."""
    try:
        found = formats.opened(source)
        return formats.other_content(source, found, content) if found else NOT_CONVERTED
    except (DataError, OSError) as error:
        return str(error)


def data_fault(name: str, root: Path) -> str:
    """Why a data set cannot be used, NOT_CONVERTED, or "" where its arrays are ready."""
    try:
        return "" if cache.is_converted(name, root) else NOT_CONVERTED
    except (DataError, OSError) as error:
        return str(error)


def extension_fault(extension: Extension) -> str:
    """Why an extension cannot be used here, or "". One that is shipped needs the packages that it imports."""
    if not extension.shipped:
        return installed_fault(extension)
    absent = [name for name in extension.imports if not is_installed(name)]
    return f"imports {', '.join(absent)}, which is not installed here" if absent else ""


# The storage: the driver leaves a file, each node reads it and leaves one of its own.


@contextmanager
def left_in(storage: Location) -> Iterator[str]:
    """Leaves a folder in the storage for the others to find, and takes it away again. Yields its token.

    Raises OSError if it cannot be written there, or not locked.
    """
    token = uuid4().hex
    made = [] if isinstance(storage, str) else [it for it in (storage, *storage.parents) if not it.exists()]
    store = storage_at(storage)
    try:
        store.write(_name(token, "driver"), token.encode())
        if isinstance(storage, Path):  # a bucket has no locks, and needs none
            with open(open_plain(storage, _name(token, "driver")), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield token
    finally:
        _take_away(store, token)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def _take_away(store: Storage, token: str) -> None:
    with suppress(OSError):
        for name in store.names(_name(token)):
            store.delete(_name(token, name))
        if isinstance(store.location, Path):
            (store.location / _name(token)).rmdir()


def answered(storage: Location, token: str, answer: str) -> bool:
    """Whether what a node wrote is seen here."""
    return storage_at(storage).exists(_name(token, answer))


def _storage(request: Request, answer: str) -> str:
    try:
        store = storage_at(request.storage)
        if store.read(_name(request.token, "driver")).decode() != request.token:
            return "holds another file than the one written here"
        store.write(_name(request.token, answer), socket.gethostname().encode())
    except FileNotFoundError:
        return "does not hold the file written here"
    except OSError as error:
        return reason(error)
    return ""


def _name(token: str, *below: str) -> str:
    return "/".join((f".doctor-{token}", *below))


# Torch


def _torch() -> Torch:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Torch(error=f"did not import in {TORCH_SECONDS:.0f} s")
    except (IndexError, ValueError):
        return Torch(error=next(iter(reversed(done.stderr.strip().splitlines())), "ended without a word"))
    return Torch(**answer | {"gpus": tuple(answer["gpus"])})
