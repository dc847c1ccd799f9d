"""Real Ray nodes on this machine, to be started and killed one by one."""

from __future__ import annotations

import socket
import subprocess
import sys
from tempfile import TemporaryDirectory

from cluster_user import User, free_port, processes_with

QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
}
"""The head gives a node up, and a driver the head, after seconds; by default after a minute or so."""


class Node:
    """A Ray node: the head of a cluster at ``host:port``, or one of the cluster at ``head``."""

    def __init__(
        self, user: User, host: str, *, port: int = 0, head: str = "", cpus: int = 1, before: tuple[str, ...] = ()
    ) -> None:
        self.address = head or f"{host}:{port}"
        self._mark = f"{user.folder}@{host}"
        self._folder = TemporaryDirectory(prefix="ray")  # Ray's sockets need a short path
        joins = [f"--address={head}"] if head else ["--head", f"--port={port}", "--include-dashboard=false"]
        joins += [] if head else [f"--ray-client-server-port={free_port()}"]  # 10001 may be another test's
        options = [f"--node-ip-address={host}", f"--num-cpus={cpus}", f"--temp-dir={self._folder.name}"]
        self.process = subprocess.Popen(
            [*before, str(user.scripts / "ray"), "start", "--block", *joins, *options],
            cwd=user.folder,
            env=user.environment | {"NODE": self._mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def pids(self) -> set[int]:
        return {process.pid for process in processes_with("NODE", self._mark)}

    def kill(self) -> None:
        """As when its power fails."""
        while found := processes_with("NODE", self._mark):
            for process in found:
                process.kill()
        self.process.kill()
        self.process.wait()


def trial_on(user: User, node: Node) -> str:
    """The trial whose last epoch runs there."""
    pids = node.pids()
    (trial_id,) = (trial_id for trial_id, epochs in user.epochs().items() if epochs[-1].pid in pids)
    return trial_id


def listens(address: str, before: tuple[str, ...] = ()) -> bool:
    """``before`` are words before a command that looks from elsewhere."""
    host, _, port = address.partition(":")
    if before:
        look = f"import socket; socket.create_connection(({host!r}, {port}), 1)"
        command = [*before, sys.executable, "-c", look]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
