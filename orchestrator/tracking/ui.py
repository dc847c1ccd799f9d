"""MLflow's own UI on the runs of a sweep, served from this machine."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import IO

from orchestrator.errors import TrackingError, UsageError
from orchestrator.ledger.storage import Location
from orchestrator.system.reaper import reaping
from orchestrator.tracking import gate, store, uris

START_SECONDS = 120.0


def serve(sweep: str, storage: Location, uri: str, host: str, port: int, say: Callable[[str], object]) -> None:
    """Serves until ctrl-C, to whoever has the token in the links that ``say`` is told; where MLflow is a server
    already, only says where its runs are.

    Raises TrackingError if the sweep has no runs there, UsageError if the port is taken.
    """
    pages = store.pages(uri, sweep, storage, say)
    if uris.is_server(uri):
        say(_links(sweep, {name: f"{uris.public_address(uri)}/{page}" for name, page in pages.items()}))
        return
    _check_installed()
    _check_free(host, port)
    token = secrets.token_urlsafe()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this process ends the server with it
    with reaping() as mark, tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as empty:
        server = subprocess.Popen(
            _command(uri, host, port),
            env={**_environment(uri, token), **mark},
            cwd=empty,  # MLflow's web server puts its working folder first on Python's path
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            address = f"http://{_bracketed(host)}:{port}"
            _wait(server, f"{address}/health", token, output)
            links = {name: gate.link(address, token, page) for name, page in pages.items()}
            say(f"{_links(sweep, links)}\nctrl-C ends it")
            server.wait()
        except KeyboardInterrupt:
            say("")
        finally:
            _end(server)


def _links(sweep: str, links: Mapping[str, str]) -> str:
    """The ways to look at the runs, a line each."""
    return "\n".join(f"{sweep} {name}: {link}" for name, link in links.items())


def _bracketed(host: str) -> str:
    """As an address in a URL."""
    return f"[{host}]" if ":" in host else host


def _command(uri: str, host: str, port: int) -> list[str]:
    """All users of the machine can read it: what holds a secret is in the environment."""
    options = {"--app-name": gate.APP, "--host": host, "--port": str(port), "--workers": "1"}
    if (artifacts := uris.artifact_root(uri)) is not None:
        options["--artifacts-destination"] = artifacts
    return [sys.executable, "-P", "-m", "mlflow", "server", *(word for option in options.items() for word in option)]


def _environment(uri: str, token: str) -> dict[str, str]:
    """The server's job runners, of no use here, would take 230 MB each. What the server starts must not import what
    lies in the folder that the command was given in, any more than the server itself. The gate needs uvicorn, and
    stands at the root."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    database = uris.database_file(uri)
    given = {
        "MLFLOW_BACKEND_STORE_URI": uris.sqlite_uri(database.absolute()) if database else uri,
        gate.TOKEN: token,
        "MLFLOW_GUNICORN_OPTS": "",
        "MLFLOW_STATIC_PREFIX": "",
    }
    return {**quiet, **os.environ, "PYTHONSAFEPATH": "1", **given}


def _check_installed() -> None:
    if not entry_points(group="mlflow.app", name=gate.APP):
        raise TrackingError(
            "MLflow does not know this package's app: install the package again, as `make install` does"
        )


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{_bracketed(host)}:{port} cannot be served on: {error.strerror}; give another --port"
            ) from error


def _wait(server: subprocess.Popen[bytes], health: str, token: str, output: IO[bytes]) -> None:
    request = urllib.request.Request(health, headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would ask a machine of its own
    while time.monotonic() < deadline:
        if server.poll() is not None:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            raise TrackingError(f"MLflow's server ended with exit code {server.returncode}; it said:\n{said}")
        try:
            direct.open(request, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TrackingError(f"MLflow's server did not answer at {health} for {START_SECONDS:.0f} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the server with all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
            server.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
