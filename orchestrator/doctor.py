"""What stands in the way of a sweep, and how to mend it: software, the cluster's nodes, storage, data, MLflow.

Nothing is changed: what is written to try the storage and MLflow is taken away again.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

from anytime_core.data.own.source import Source
from anytime_core.files import LocalFolder
from orchestrator.cluster import ray_folder
from orchestrator.cluster.probe import (
    NOT_CONVERTED,
    MachineReport,
    NodeReport,
    Request,
    Torch,
    answered,
    installed,
    left_in,
    look,
)
from orchestrator.errors import ClusterError, TrackingError
from orchestrator.extensions.finding import Extension
from orchestrator.ledger.storage import Location, reason
from orchestrator.redaction import redacted
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Resources
from orchestrator.system import limits
from orchestrator.system.environment import prepare_ray
from orchestrator.text import counted, named
from orchestrator.tracking import run_files, uris, usable
from orchestrator.tracking.refusals import MEGA, remedy
from orchestrator.tracking.tracker import MODELS, largest_model

DISTRIBUTION = "anytime-orchestrator"
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
HERE = "this machine"
GIB = 2**30
FEW_BYTES = 10 * GIB
TOO_FEW_BYTES = GIB
FEW_NAMES = 3
COMMON_NETWORK = 900_000
"""In bytes: the file of such a network is just above 1 MiB, the limit that nginx has unless its owner gives another."""
SKEW_SECONDS = 2.0
"""Clocks further apart make the times in the results doubtful."""


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """``found`` is what is there; ``mend`` what to do about it, if anything."""

    name: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorSettings:
    """Where a sweep would look. ``datasets``, ``own_data``, ``extensions`` and ``resources`` are those of one sweep,
    where one is given; see ``probe.Request``. ``networks`` are the sizes in bytes, ascending, of those that would go to
    MLflow."""

    storage: Location
    data_root: Path
    tracking_uri: str
    address: str | None = None
    datasets: tuple[str, ...] = ()
    networks: tuple[int, ...] = ()
    own_data: tuple[tuple[Source, str], ...] = ()
    extensions: tuple[Extension, ...] = ()
    resources: Resources | None = None


def settings_of(
    sweep: Sweep | None, *, storage: Location, data_root: Path, tracking_uri: str, address: str | None
) -> DoctorSettings:
    """With what the sweep needs, if there is one."""
    used = {trial.config.data.name: trial.config.data for trial in sweep.trials} if sweep else {}
    own = {name: data.own for name, data in sorted(used.items()) if data.own}
    return DoctorSettings(
        storage=storage.absolute() if isinstance(storage, Path) else storage,
        data_root=data_root.absolute(),
        tracking_uri=tracking_uri,
        address=address,
        datasets=tuple(name for name in sorted(used) if name not in own),
        own_data=tuple((sweep.own_data[name], data.content) for name, data in own.items()) if sweep else (),
        extensions=sweep.extensions if sweep else (),
        networks=_sent(_sizes(sweep) if sweep else [COMMON_NETWORK]),
        resources=sweep.trials[0].resources if sweep else None,
    )


def _sizes(sweep: Sweep) -> list[int]:
    """Of the networks whose sizes are known before they are built."""
    return [size for trial in sweep.trials if (size := run_files.size_of(trial.config))]


def _sent(networks: Sequence[int]) -> tuple[int, ...]:
    """Those that MLflow gets, each size once."""
    return tuple(sorted(size for size in set(networks) if size <= largest_model()))


def examine(settings: DoctorSettings) -> list[Check]:
    """All checks, in the order in which a sweep would need what they look at."""
    with ExitStack() as stack:
        token, fault = "", ""
        try:
            token = stack.enter_context(left_in(settings.storage))
        except OSError as error:
            fault = reason(error)
        request = Request(
            storage=settings.storage,
            token=token,
            data_root=settings.data_root,
            datasets=settings.datasets,
            own_data=settings.own_data,
            extensions=settings.extensions,
        )
        here = look(request)
        nodes, refused = _ask(settings.address, request)
        unseen = {
            node.name: "what it writes is not seen here"
            for node in nodes
            if token and node.machine and not answered(settings.storage, token, node.machine.answer)
        }
        free = None if fault or isinstance(settings.storage, str) else shutil.disk_usage(settings.storage).free
    places = {HERE: here} | {node.name: node.machine for node in nodes if node.machine}
    return [
        python(here),
        machine(here),
        packages(),
        *gpus(places),
        *ray_nodes(settings.address, nodes, refused),
        *agreement(here, nodes),
        *fits(settings.resources, here, nodes, refused),
        *clocks(nodes),
        *shared_storage(settings.storage, fault, places, unseen),
        *disk(settings.storage, free, places),
        *data(settings, places),
        *extensions(settings, places),
        tracking(settings.tracking_uri, settings.networks),
    ]


def _ask(address: str | None, request: Request) -> tuple[list[NodeReport], str]:
    """The nodes of the cluster, and why there are none."""
    if not address:
        return [], ""
    prepare_ray(own_cluster=False)
    from orchestrator.cluster import nodes

    with TemporaryDirectory() as folder:
        try:
            return nodes.ask(address, request, LocalFolder(folder)), ""
        except ClusterError as error:
            return [], str(error)


# Software


def python(here: MachineReport) -> Check:
    return Check(name="python", state=State.OK, found=f"{here.python}, code {here.code}")


def machine(here: MachineReport) -> Check:
    """What may be used here, and what keeps that from being the whole machine."""
    have = f"{counted(here.cpus, 'CPU')}, {counted(len(here.gpus), 'GPU')}, {here.memory / GIB:.1f} GiB of memory"
    limits = f"; this process may use {', '.join(here.limits)}" if here.limits else ""
    return Check(name="machine", state=State.OK, found=f"{have}{limits}")


def packages(constraints: Path = CONSTRAINTS) -> Check:
    """Against the ranges that the package declares, and the versions that were tested."""
    tested = _tested(constraints)
    needed = [requirement for requirement in _requirements() if not requirement.marker or requirement.marker.evaluate()]
    versions = {requirement.name: installed(requirement.name) for requirement in needed}
    wrong = [req for req in needed if not req.specifier.contains(versions[req.name] or "0", prereleases=True)]
    missing = [req for req in needed if versions[req.name] is None]
    if faults := {req.name: req for req in [*missing, *wrong]}:
        return Check(
            name="packages",
            state=State.PROBLEM,
            found=", ".join(f"{name} {versions[name] or 'missing'}" for name in faults),
            mend="pip install " + " ".join(f"'{req.name}{req.specifier}'" for req in faults.values()),
        )
    others = {name: tested[name] for name, here in versions.items() if name in tested and _plain(here) != tested[name]}
    if others:
        return Check(
            name="packages",
            state=State.WARNING,
            found=", ".join(f"{name} {versions[name]}, tested with {version}" for name, version in others.items()),
            mend="pip install " + " ".join(f"{name}=={version}" for name, version in others.items()),
        )
    return Check(name="packages", state=State.OK, found=f"{len(versions)}, {'as tested' if tested else 'as declared'}")


def _requirements() -> list[Requirement]:
    try:
        declared = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return []
    return [requirement for requirement in declared if "extra" not in str(requirement.marker or "")]


def _tested(constraints: Path) -> dict[str, str]:
    if not constraints.is_file():  # it is no part of an installed package
        return {}
    return dict(re.findall(r"^([\w.-]+)==(\S+)", constraints.read_text(), re.M))


def _plain(version: str | None) -> str:
    """Without the build, such as that of 2.13.0+cpu."""
    return (version or "").partition("+")[0]


def gpus(places: Mapping[str, MachineReport]) -> Iterator[Check]:
    """Whether torch can use the GPUs that each machine's driver sees. Machines that are well are told together."""
    well: dict[str, list[str]] = {}
    for place, machine in places.items():
        torch, have = machine.torch, len(machine.gpus)
        if not torch.version:
            mend = "install torch anew: pip install --force-reinstall torch, with -c constraints.txt"
            yield Check(name="torch", state=State.PROBLEM, found=f"{place}: {torch.error}", mend=mend)
        elif len(torch.gpus) < have:
            yield Check(name="torch", state=State.PROBLEM, found=f"{place}: {_unusable(machine)}", mend=_usable(torch))
        else:
            well.setdefault(_described(machine), []).append(place)
    for description, alike in well.items():
        who = ", ".join(alike) if len(alike) <= FEW_NAMES else f"{len(alike)} machines"
        yield Check(name="torch", state=State.OK, found=f"{who}: {description}")


def _unusable(machine: MachineReport) -> str:
    torch, driver = machine.torch, machine.gpus[0].driver
    build = f"built for CUDA {torch.cuda}" if torch.cuda else "built for CPUs"
    reason = f": {torch.error}" if torch.error else ""
    have, can = len(machine.gpus), len(torch.gpus)
    return f"{torch.version}, {build}, uses {can} of {have} GPUs of driver {driver}{reason}"


def _usable(torch: Torch) -> str:
    if torch.cuda is None:
        return "install a CUDA build of torch: make clean, then make CONSTRAINTS= install"
    return f"install a GPU driver for CUDA {torch.cuda}, or a torch for this driver"


def _described(machine: MachineReport) -> str:
    torch = machine.torch
    if not machine.gpus:
        return f"{torch.version}, no GPU"
    kinds = Counter((gpu.name, gpu.memory) for gpu in machine.gpus)
    cards = ", ".join(f"{count} {name} of {memory / GIB:.0f} GiB" for (name, memory), count in kinds.items())
    used = sum(gpu.used for gpu in machine.gpus) / GIB
    return f"{torch.version}, CUDA {torch.cuda}, driver {machine.gpus[0].driver}, {cards}, {used:.0f} GiB in use"


# The cluster


def ray_nodes(address: str | None, nodes: Sequence[NodeReport], refused: str) -> Iterator[Check]:
    """Whether the cluster answers, and each of its nodes."""
    if not address:
        yield own_cluster()
    elif refused:
        mend = (
            f"start it: ray start --head --port=6379; make this machine a node of it: ray start --address={address}; "
            "RAY_AUTH_MODE and the token must be the same everywhere"
        )
        yield Check(name="ray", state=State.PROBLEM, found=refused, mend=mend)
    for node in nodes:
        label = f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs"
        if node.machine and node.cpus > node.machine.cpus:
            there = f"{label}, of which its processes may use {', '.join(node.machine.limits)}"
            mend = f"start Ray there with what it may use: ray start --num-cpus={node.machine.cpus}"
            yield Check(name="node", state=State.WARNING, found=there, mend=mend)
        elif node.machine:
            yield Check(name="node", state=State.OK, found=f"{label}, {node.machine.memory / GIB:.1f} GiB of memory")
        elif node.left:
            mend = f"if it should be there, on it: ray start --address={address}"
            yield Check(name="node", state=State.WARNING, found=f"{label}: has just left the cluster", mend=mend)
        else:
            mend = "install there what is installed here, or look at its logs: /tmp/ray/session_latest/logs"
            yield Check(name="node", state=State.PROBLEM, found=f"{label}: {node.error}", mend=mend)


def own_cluster() -> Check:
    """Whether Ray can start here, and there is a place for the files of a cluster of this machine alone."""
    if faults := limits.certain():
        causes, mends = zip(*(fault.split(": ", 1) for fault in faults), strict=True)
        return Check(name="ray", state=State.PROBLEM, found="; ".join(causes), mend="; ".join(mends))
    try:
        place = ray_folder.place()
    except ClusterError as error:
        mend = f"set RAY_TMPDIR to a folder of at most {ray_folder.LONGEST} bytes that can be written"
        return Check(name="ray", state=State.PROBLEM, found=str(error), mend=mend)
    remark = f"no address given: a sweep starts a cluster on this machine alone, with its files in {place}"
    return Check(name="ray", state=State.OK, found=remark)


def agreement(here: MachineReport, nodes: Sequence[NodeReport]) -> Iterator[Check]:
    """Whether all nodes run the code and the versions that this machine has."""
    ours = _versions(here)
    for node in nodes:
        theirs = _versions(node.machine) if node.machine else ours
        if differing := [name for name, version in ours.items() if theirs[name] != version]:
            grave = set(differing) & {"code", "ray", "torch"}
            yield Check(
                name="versions",
                state=State.PROBLEM if grave else State.WARNING,
                found=f"{node.name}: " + ", ".join(f"{name} {theirs[name]}, here {ours[name]}" for name in differing),
                mend="install the same there, with the same constraints.txt, and start Ray there again",
            )
    if nodes and all(not node.machine or _versions(node.machine) == ours for node in nodes):
        yield Check(name="versions", state=State.OK, found="all nodes have this machine's code, Python, Ray and torch")


def _versions(machine: MachineReport) -> dict[str, str]:
    return {"code": machine.code, "python": machine.python, **machine.packages}


def fits(
    resources: Resources | None, here: MachineReport, nodes: Sequence[NodeReport], refused: str
) -> Iterator[Check]:
    """Whether there is a node that can hold a trial."""
    if not resources or refused:
        return
    sizes = [(node.cpus, node.gpus) for node in nodes] or [(here.cpus, len(here.torch.gpus))]
    asks = f"a trial asks for {resources}"
    if any(cpus >= resources.cpus and count >= resources.share for cpus, count in sizes):
        yield Check(name="resources", state=State.OK, found=asks)
    else:
        mend = "change the sweep's resources, or give orchestrate sweep --cpus or --gpus"
        yield Check(name="resources", state=State.PROBLEM, found=f"{asks}, and no node has that", mend=mend)


def clocks(nodes: Sequence[NodeReport]) -> Iterator[Check]:
    """Whether the nodes' clocks agree with this machine's, as far as the time to ask lets one say."""
    known = [node for node in nodes if node.machine]
    for node in known:
        if abs(node.skew) - node.give > SKEW_SECONDS:
            mend = "set its clock by NTP: timedatectl set-ntp true"
            skew = f"{node.name}: {node.skew:+.1f} s from this machine's, give or take {node.give:.1f} s"
            yield Check(name="clock", state=State.WARNING, found=skew, mend=mend)
    if known and all(abs(node.skew) - node.give <= SKEW_SECONDS for node in known):
        yield Check(name="clock", state=State.OK, found=f"all within {SKEW_SECONDS:g} s")


# What all share


def shared_storage(
    storage: Location, fault: str, places: Mapping[str, MachineReport], unseen: Mapping[str, str]
) -> Iterator[Check]:
    """Whether this machine can write the storage, and each node sees what it writes and it what they write."""
    if fault:
        mend = "give another --storage, or make this one writable, with locks (NFS: mounted with them)"
        yield Check(name="storage", state=State.PROBLEM, found=f"{storage}: {fault}", mend=mend)
        return
    faults = {place: machine.storage for place, machine in places.items() if machine.storage}
    faults = {place: fault for place, fault in unseen.items() if place not in faults} | faults
    for place, said in faults.items():
        mend = "mount the same folder at the same path on all nodes, writable"
        yield Check(name="storage", state=State.PROBLEM, found=f"{place}: {storage}: {said}", mend=mend)
    if not faults:
        seen = "written and read" + (f", seen from {len(places) - 1} nodes" if len(places) > 1 else "")
        yield Check(name="storage", state=State.OK, found=f"{storage}: {seen}")


def disk(storage: Location, free: int | None, places: Mapping[str, MachineReport]) -> Iterator[Check]:
    """The space left in the storage, and where Ray puts its files."""
    spaces = {} if free is None else {f"{storage}": free}
    spaces |= {f"{place}: /tmp": machine.free for place, machine in places.items()}
    few = {place: left for place, left in spaces.items() if left < FEW_BYTES}
    for place, left in few.items():
        state = State.PROBLEM if left < TOO_FEW_BYTES else State.WARNING
        yield Check(name="disk", state=state, found=f"{place}: {left / GIB:.1f} GiB left", mend="make room there")
    if not few:
        yield Check(name="disk", state=State.OK, found=f"at least {min(spaces.values()) / GIB:.0f} GiB left everywhere")


def data(settings: DoctorSettings, places: Mapping[str, MachineReport]) -> Iterator[Check]:
    """Whether each data set of the sweep is there on every machine, and ready."""
    own = {source.name: source.path for source, _ in settings.own_data}
    for name in (*settings.datasets, *own):
        faults = {place: machine.data[name] for place, machine in places.items() if machine.data.get(name)}
        for place, fault in faults.items():
            yield _own_data(name, own[name], place, fault) if name in own else _data(settings, name, place, fault)
        if not faults:
            yield Check(name="data", state=State.OK, found=f"{name}: ready" + (" on all nodes" * (len(places) > 1)))


def extensions(settings: DoctorSettings, places: Mapping[str, MachineReport]) -> Iterator[Check]:
    """Whether each extension of the sweep can be imported on every machine, and says there what it says here."""
    for extension in settings.extensions:
        faults = {place: said for place, machine in places.items() if (said := machine.extensions.get(extension.given))}
        for place, fault in faults.items():
            mend = "install the same version on every node"
            yield Check(name="extension", state=State.PROBLEM, found=f"{place}: {extension.given} {fault}", mend=mend)
        if not faults:
            how = "is sent to workers" if extension.shipped else "installed" + (" on all nodes" * (len(places) > 1))
            yield Check(name="extension", state=State.OK, found=f"{extension.given}: {how}")


def _data(settings: DoctorSettings, name: str, place: str, fault: str) -> Check:
    if fault != NOT_CONVERTED:
        mend = "fetch it there, or give a --data-root that all nodes see"
        return Check(name="data", state=State.PROBLEM, found=f"{place}: {fault}", mend=mend)
    unconverted = f"{place}: {name} is there, not converted nor compared with its md5 sums: a sweep does both first"
    mend = f"to compare them now: orchestrate data check {name} --root {settings.data_root}"
    return Check(name="data", state=State.WARNING, found=unconverted, mend=mend)


def _own_data(name: str, path: Path, place: str, fault: str) -> Check:
    if fault != NOT_CONVERTED:
        mend = f"bring to {path} there what lies at it here, or let all nodes see one folder at that path"
        return Check(name="data", state=State.PROBLEM, found=f"{place}: {fault}", mend=mend)
    return Check(name="data", state=State.WARNING, found=f"{place}: {name} is there, and is read by its first trial")


def tracking(uri: str, networks: Sequence[int] = ()) -> Check:
    """Whether MLflow answers and can be written to, also networks of these sizes in bytes, in ascending order."""
    shown = named(uri, shown=uris.safe_uri(uri))
    database = uris.database_file(uri)
    if database and not database.exists():
        return Check(name="mlflow", state=State.OK, found=f"{shown}: will be made when a sweep begins")
    try:
        refused = usable.check_writable(uri, networks)
    except TrackingError as error:
        return Check(name="mlflow", state=State.PROBLEM, found=f"{shown}: {error}", mend=_tracking_advice(str(error)))
    if refused:
        least = f"a network of {refused[0].size / MEGA:.3g} MB is refused: {refused[0].reason}"
        found = f"{shown}: answers, but {least}"
        return Check(name="mlflow", state=State.PROBLEM, found=found, mend=remedy(refused, MODELS))
    return Check(name="mlflow", state=State.OK, found=f"{shown}: answers, and can be written to")


def _tracking_advice(said: str) -> str:
    if "No module named" in said:
        return "install what its database needs: pip install -e '.[server]'"
    if usable.FILES_FAULT in said:
        return "let the server's --artifacts-destination, or this machine where it has none, write there"
    if "or later" in said:
        return "upgrade the server, or give another --tracking-uri; training goes on without it"
    if "its owner can share it" in said:
        return "let its owner do so, or give another --storage or --tracking-uri"
    if "Invalid Host header" in said:
        return "start the server with --allowed-hosts and the name it is called by here"
    if "not a database" in said or "malformed" in said:
        return "move that file away: the sweep's command fills a new one with all that the ledger has"
    if "out-of-date database schema" in said:
        return (
            "another MLflow wrote it: install that one again; or, if it was an older one, copy the database, then "
            "python -m mlflow db upgrade and its address"
        )
    return "start the server, or give another --tracking-uri; training goes on without it, and delivers later"


# Shown


def as_text(checks: Sequence[Check]) -> str:
    """A line for each check, and one below for what would mend it."""
    lines = []
    for check in checks:
        lines.append(f" {check.state:<9} {check.name:<10} {check.found}")
        lines += [f" {'':<9} {'':<10} → {check.mend}"] if check.mend else []
    counts = Counter(check.state for check in checks)
    known = {State.PROBLEM: "problem", State.WARNING: "warning"}
    told = [counted(counts[state], word) for state, word in known.items() if counts[state]]
    summary = ", ".join([*told, *([f"{counts[State.OK]} ok"] if counts[State.OK] else [])])
    return "\n".join([*lines, "", summary])


def as_rows(checks: Sequence[Check]) -> list[dict[str, str]]:
    """Row by row: name, state, found, mend."""
    return [{name: redacted(text) for name, text in asdict(check).items()} for check in checks]
