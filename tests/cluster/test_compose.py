"""Every service of docker-compose.yml runs by its own command, and a sweep on them all."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cluster_user import free_port
from containers import Containers, need_namespaces, postgres_bin, read

pytestmark = pytest.mark.cluster

SWEEP = """
name: tiny
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, opt: {regime: opt, at: [1]}}
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
SERVICES = ("postgres", "mlflow", "ray-head", "cpu-worker")
PASSWORD = "it's @ p/w: %"
TOKEN = "0123456789abcdef" * 4
SECONDS = 240


@dataclass(frozen=True)
class Deployment:
    containers: Containers
    mlflow: str
    dashboard: str

    def orchestrate(self, *arguments: str) -> tuple[int, str]:
        """As `docker compose run orchestrate`: its exit code, and what it said."""
        log = self.containers.log("orchestrate")
        log.unlink(missing_ok=True)
        code = self.containers.start("orchestrate", *arguments).wait(timeout=SECONDS)
        return code, log.read_text()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All services, healthy, as `docker compose up` leaves them."""
    need_namespaces()
    ports = {"MLFLOW_PORT": str(free_port()), "RAY_DASHBOARD_PORT": str(free_port())}
    compose = read({"POSTGRES_PASSWORD": PASSWORD, "RAY_AUTH_TOKEN": TOKEN, **ports})
    folder = tmp_path_factory.mktemp("services")
    with Containers(compose, folder) as containers:
        for name in SERVICES:
            for needed, condition in containers.services[name].get("depends_on", {}).items():
                assert condition == {"condition": "service_healthy"}
                containers.wait_healthy(needed)
            containers.start(name)
        for name in SERVICES:
            containers.wait_healthy(name)
        (folder / "volumes" / "runs" / "tiny.yaml").write_text(SWEEP)
        servers = (f"http://127.0.0.1:{port}" for port in ports.values())
        yield Deployment(containers, *servers)


@pytest.fixture(scope="module")
def swept(deployed: Deployment) -> tuple[int, str]:
    return deployed.orchestrate("sweep", "/srv/runs/tiny.yaml")


def answer(url: str, content: dict[str, Any] | None = None, **headers: str) -> bytes:
    data = json.dumps(content).encode() if content else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read()


def refusal(url: str, **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as refused:
        answer(url, **headers)
    refused.value.close()
    return refused.value.code


def test_a_sweep_trains_on_the_worker_into_the_shared_volume(deployed: Deployment, swept: tuple[int, str]) -> None:
    code, said = swept
    assert code == 0, said
    assert "[2/2 done, 0 running, 0 failed" in said
    paths = sorted((deployed.containers.folder / "volumes" / "runs" / "trials").glob("*/result.json"))
    assert [json.loads(path.read_text())["provenance"]["host"] for path in paths] == ["cpu-worker"] * 2


def test_mlflow_has_its_runs_and_hands_their_files_on(deployed: Deployment, swept: tuple[int, str]) -> None:
    found = answer(f"{deployed.mlflow}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"], "max_results": 10})
    runs = json.loads(found)["runs"]
    summary = next(run for run in runs if run["info"]["run_name"] == "summary")
    assert len(runs) == 3
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    assert summary["info"]["artifact_uri"].startswith("mlflow-artifacts:/")
    page = answer(f"{deployed.mlflow}/get-artifact?path=report.html&run_id={summary['info']['run_id']}")
    (kept,) = (deployed.containers.folder / "volumes" / "artifacts").rglob("report.html")
    assert page == kept.read_bytes()


def test_the_runs_are_in_postgresql_which_wants_its_password(deployed: Deployment, swept: tuple[int, str]) -> None:
    ask = ["psql", "--host=postgres", "--username=mlflow", "--tuples-only", "--command=SELECT count(*) FROM runs"]
    ask[0] = str(postgres_bin() / "psql")
    assert deployed.containers.execute("mlflow", ask).stdout.strip() == "3"
    other = deployed.containers.execute("mlflow", ["env", "PGPASSWORD=postgres", *ask])
    assert "password authentication failed" in other.stderr


def test_mlflow_answers_to_its_own_names_alone(deployed: Deployment) -> None:
    experiments = f"{deployed.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert b"Default" in answer(experiments, Host="mlflow:5000")
    assert refusal(experiments, Host="attacker.example") == 403


def test_the_dashboard_wants_the_token(deployed: Deployment) -> None:
    nodes = f"{deployed.dashboard}/nodes?view=summary"
    assert refusal(nodes) == 401
    assert refusal(nodes, Authorization="Bearer guessed") == 403
    assert b"cpu-worker" in answer(nodes, Authorization=f"Bearer {TOKEN}")


def test_the_doctor_finds_nothing_wrong(deployed: Deployment, swept: tuple[int, str]) -> None:
    code, said = deployed.orchestrate("doctor", "/srv/runs/tiny.yaml", "--format", "json")
    checks = json.loads(said)
    assert code == 0, said
    # The container of the sweep has ended; it can be some seconds until Ray knows that this node is gone.
    assert all(check["state"] == "ok" or "has just left the cluster" in check["found"] for check in checks)
    nodes = {check["found"].split()[0] for check in checks if check["name"] == "node"}
    assert {"ray-head", "cpu-worker", "orchestrate"} <= nodes
    assert {"storage", "clock", "versions", "mlflow", "data"} <= {check["name"] for check in checks}


def test_the_doctor_names_what_is_wrong_and_on_which_nodes(deployed: Deployment) -> None:
    """/srv/app is each container's own; MLflow's server does not answer to its address."""
    server = f"http://{deployed.containers.address('mlflow')}:5000"
    options = ["--storage", "/srv/app/mine", "--data-root", "/srv/data", "--tracking-uri", server]
    code, said = deployed.orchestrate("doctor", "sweeps/table6.yaml", *options)
    assert code == 1
    for node in ("ray-head", "cpu-worker"):
        assert any(line.startswith(f" problem   storage    {node} ") for line in said.splitlines()), said
        assert any(line.startswith(f" problem   data       {node} ") for line in said.splitlines()), said
    assert "does not hold the file written here" in said
    assert "mount the same folder at the same path on all nodes" in said
    assert "orchestrate data fetch svhn --root /srv/data" in said
    assert "start the server with --allowed-hosts" in said


def test_all_services_end_when_they_are_told(deployed: Deployment) -> None:
    for name in reversed(SERVICES):
        deployed.containers.stop(name)
    assert deployed.containers.processes() == []
