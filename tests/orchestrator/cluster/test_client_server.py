"""ray://HOST:PORT: a server for Ray's clients that fails is asked again, and what it said is told in the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.cluster import client_server, session
from orchestrator.errors import ClusterError

HERE = "ray://127.0.0.1:1"
FAILED = "Initialization failure from server:\n"
CRASH = "Traceback (most recent call last):\n  ...\nRuntimeError: Starting Ray client server failed. See x.err\n"


class Server:
    """Stands for ``ray.init``, which fails so many times; and for the clock, which only pauses move on."""

    def __init__(self, failures: float, message: str = FAILED) -> None:
        self.failures, self.message, self.asked, self.left, self.now = failures, message, 0, 0, 0.0

    def init(self, address: str) -> SimpleNamespace:
        assert address == HERE
        self.asked += 1
        if self.asked <= self.failures:
            raise ConnectionAbortedError(self.message)
        return SimpleNamespace(disconnect=self._leave)

    def _leave(self) -> None:
        self.left += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def serve(monkeypatch):
    def put_in(failures: float, message: str = FAILED) -> Server:
        server = Server(failures, message)
        monkeypatch.setattr(session.ray, "init", server.init)
        context = SimpleNamespace(gcs_address="127.0.0.1:6379")
        monkeypatch.setattr(session.ray, "get_runtime_context", lambda: context)
        clock = SimpleNamespace(time=time.time, monotonic=lambda: server.now, sleep=server.sleep)
        monkeypatch.setattr(session, "time", clock)
        return server

    return put_in


def test_an_address_of_the_cluster_itself_asks_no_server(serve) -> None:
    server = serve(0)
    assert session._behind("127.0.0.1:6379") == "127.0.0.1:6379"
    assert server.asked == 0


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_server_that_fails_at_first_is_asked_again(serve, failures) -> None:
    server = serve(failures)
    assert session._behind(HERE) == "127.0.0.1:6379"
    assert (server.asked, server.left) == (failures + 1, 1)


def test_one_that_always_fails_is_given_up_in_time_and_it_is_told_where_the_reason_is(serve) -> None:
    server = serve(float("inf"))
    with pytest.raises(ClusterError) as caught:
        session._behind(HERE)
    assert 2 < server.asked < 10
    assert server.now <= session.CLIENT_SECONDS
    said = str(caught.value)
    assert said.startswith(f"the server at {HERE} failed to serve us, {server.asked} times: ")
    assert "the logs on the node 127.0.0.1 say why: ray_client_server.err and ray_client_server_*.err" in said
    assert "\n" not in said


def test_one_that_takes_a_minute_to_fail_is_asked_again_once(serve, monkeypatch) -> None:
    server = serve(float("inf"))

    def slow(address: str) -> SimpleNamespace:
        server.now += 60
        return server.init(address)

    monkeypatch.setattr(session.ray, "init", slow)
    with pytest.raises(ClusterError, match="failed to serve us, 2 times"):
        session._behind(HERE)
    server.failures = server.asked + 1
    assert session._behind(HERE) == "127.0.0.1:6379"


def test_what_the_server_said_itself_is_told(serve) -> None:
    serve(float("inf"), FAILED + CRASH)
    with pytest.raises(ClusterError, match=r"times: RuntimeError: Starting Ray client server failed. See x.err; the"):
        session._behind(HERE)


def test_other_errors_are_not_tried_again(serve, monkeypatch) -> None:
    def init(address: str) -> None:
        raise RuntimeError("versions differ")

    server = serve(0)
    monkeypatch.setattr(session.ray, "init", init)
    with pytest.raises(RuntimeError, match="versions differ"):
        session._behind(HERE)
    assert server.now == 0


@contextmanager
def server_process(logs: Path, port: int) -> Iterator[None]:
    """A process with the words of Ray's server, which says what it says in the folder of logs."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", "ray.util.client.server", f"--port={port}"]
    with (logs / "ray_client_server.err").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


def test_the_log_of_the_process_that_failed_is_quoted_on_the_same_machine(tmp_path) -> None:
    (tmp_path / "ray_client_server_23000.err").write_text("begins\nMemoryError: of the process\n\n")
    (tmp_path / "ray_client_server_23000.out").write_text("nothing of interest\n")
    with server_process(tmp_path, 1):
        said = client_server.why(FAILED, HERE, time.time() - 60)
        later = client_server.why(FAILED, HERE, time.time() + 60)
        elsewhere = client_server.why(FAILED, "ray://192.0.2.1:1", time.time() - 60)
        other = client_server.why(FAILED, "ray://127.0.0.1:2", time.time() - 60)
    assert said == f"{tmp_path}/ray_client_server_23000.err says: MemoryError: of the process"
    assert later.startswith("the logs on the node 127.0.0.1 say why: ")
    assert elsewhere.startswith("the logs on the node 192.0.2.1 say why: ")
    assert other == later


def test_where_that_process_said_nothing_the_server_is_quoted(tmp_path) -> None:
    with server_process(tmp_path, 1):
        (tmp_path / "ray_client_server_23000.err").touch()
        idle = "2026-11-29 10:03:11,979\tINFO proxier.py:829 -- 5f2c last started stream at 1.0.\n"
        (tmp_path / "ray_client_server.err").write_text(f"OSError: Too many open files\n{idle}")
        said = client_server.why(FAILED, HERE, time.time() - 60)
    assert said.endswith("ray_client_server.err says: OSError: Too many open files")


def test_only_addresses_of_this_machine_are_here() -> None:
    assert client_server._is_here("127.0.0.1")
    assert not client_server._is_here("192.0.2.1")
    assert not client_server._is_here("no.such.host.invalid")
