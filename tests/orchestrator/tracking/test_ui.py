"""`orchestrate ui` serves the runs to its user alone, and shows secrets to nobody."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from told import Told, made_in

from orchestrator.sweep.trial import TrialRecord
from orchestrator.tracking.uris import public_address

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # MLflow's own are not ours to mend

ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))


@dataclass
class Served:
    told: Told
    pid: int
    port: int
    links: dict[str, str]

    @property
    def token(self) -> str:
        return re.findall(r"token=([^#]+)#", self.links["errors"])[0]

    def ask(self, path: str, *, method: str = "GET", body: str = "", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        answer.text = answer.read()
        connection.close()
        return answer


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty: Path, make_record: Callable[..., TrialRecord], make_epochs) -> Iterator[Served]:
    told = made_in(tmp_path_factory.mktemp("served"), empty)
    told.train(make_record, lambda count: make_epochs(2, count))
    told.tell()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [ORCHESTRATE, "ui", "small.yaml", "--port", str(port)]
    started = subprocess.Popen(
        command,
        cwd=told.sweep.path.parent,
        env=environment | {"MLFLOW_TRACKING_URI": told.uri, "MLFLOW_GUNICORN_OPTS": "--log-level debug"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = iter(started.stdout.readline, "ctrl-C ends it\n")
        links = dict(re.fullmatch(r"small (\w+): (\S+)\n", line).groups() for line in lines)
        yield Served(told, started.pid, port, links)
    finally:
        started.send_signal(signal.SIGTERM)
        started.communicate(timeout=60)


def processes(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def test_no_argument_of_a_process_holds_the_database_or_the_token(served: Served) -> None:
    arguments = [Path(f"/proc/{each.pid}/cmdline").read_bytes() for each in processes(served.pid)]
    assert len(arguments) >= 4  # the command, its reaper, MLflow's server and what that starts
    assert [line for line in arguments if served.token.encode() in line or b"sqlite:" in line] == []


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/version", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=1", "/graphql", "/api/2.0/x"],
)
def test_another_user_gets_nothing(served: Served, path: str) -> None:
    for headers in ({}, {"Cookie": f"orchestrate-ui-{served.port}=x"}, {"Authorization": "Bearer x"}):
        assert served.ask(path, **headers).status == 403
    assert served.ask(path, method="POST", body="{}").status == 403


def test_the_link_opens_the_ui_with_all_that_it_loads(served: Served) -> None:
    link = urlsplit(served.links["curves"])
    opened = served.ask(f"{link.path}?{link.query}")
    assert (opened.status, opened.headers["Location"]) == (303, "/")
    cookie = SimpleCookie(opened.headers["Set-Cookie"])
    kept = "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())
    page = served.ask("/", Cookie=kept)
    assert page.status == 200
    loaded = re.findall(rb'(?:src|href)="\.?/?(static-files/[^"]+)"', page.text)
    assert loaded
    assert {served.ask(f"/{path.decode()}", Cookie=kept).status for path in loaded} == {200}
    experiment = re.search(r"/experiments/(\d+)/", link.fragment)[1]
    assert served.ask(f"/ajax-api/2.0/mlflow/experiments/get?experiment_id={experiment}", Cookie=kept).status == 200
    asked = f'{{"experiment_ids": ["{experiment}"]}}'
    headers = {"Cookie": kept, "Content-Type": "application/json"}
    found = served.ask("/ajax-api/2.0/mlflow/runs/search", method="POST", body=asked, **headers)
    assert (found.status, b"trial_id" in found.text) == (200, True)


def test_a_program_gets_in_as_mlflow_s_own_client_does(served: Served) -> None:
    search = "import mlflow; print(len(mlflow.search_experiments()))"
    where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{served.port}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    known = where | {"MLFLOW_TRACKING_TOKEN": served.token}
    python = [sys.executable, "-P", "-c", search]
    done = [
        subprocess.run(python, env=os.environ | given, capture_output=True, text=True, check=False)
        for given in (known, where)
    ]
    assert (done[0].stdout.strip(), done[1].returncode) == ("2", 1), done


def test_a_name_that_leads_here_from_elsewhere_is_refused_with_the_token_too(served: Served) -> None:
    answer = served.ask("/", Host="evil.example", Authorization=f"Bearer {served.token}")
    assert (answer.status, b"Invalid Host header" in answer.text) == (403, True)
    assert served.ask("/", Host="evil.example").status == 403


def test_a_server_s_address_for_a_browser_holds_no_password() -> None:
    assert public_address("https://me:hun@ter2@host:5000/mlflow/") == "https://host:5000/mlflow"
