"""What docker-compose.yml and the Dockerfile promise, read without a container engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import read, words

REPOSITORY = Path(__file__).parents[1]
SECRETS = {"POSTGRES_PASSWORD": "$ecret", "RAY_AUTH_TOKEN": "token"}
SERVICES: dict[str, Any] = read(SECRETS)["services"]
LASTING = [name for name, service in SERVICES.items() if "orchestrate" not in service.get("profiles", [])]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_a_secret_of_the_users_own(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        read(SECRETS | {missing: ""})
    text = (REPOSITORY / "docker-compose.yml").read_text()
    assert not re.search(r"\$\{\w*(PASSWORD|TOKEN|SECRET)\w*(?!\w)(?!:\?)", text)


def test_ports_are_published_on_loopback_alone() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert published == {"mlflow": "127.0.0.1:5000:5000", "ray-head": "127.0.0.1:8265:8265"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_root_or_can_become_it(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] in ("1000:1000", "postgres")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}


@pytest.mark.parametrize("name", LASTING)
def test_what_stays_up_has_a_health_check_and_starts_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_every_image_has_a_whole_version_and_somebody_elses_a_digest() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    images = {service["image"] for service in SERVICES.values()} | set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
    assert f"anytime-orchestrator:{version}" in images
    for image in images:
        name, _, digest = image.partition("@")
        assert re.search(r":\d+\.\d+(\.\d+)?(-[\w-]+)?$", name)
        assert name.startswith("anytime-orchestrator:") or re.fullmatch(r"sha256:[0-9a-f]{64}", digest)


def test_ray_nodes_share_results_and_data_and_ask_for_the_token() -> None:
    nodes = [
        service for service in SERVICES.values() if "ray start" in str(service.get("entrypoint", service["command"]))
    ]
    assert len(nodes) == 4
    for node in nodes:
        assert {"runs:/srv/runs", "data:/srv/data"} <= set(node["volumes"])
        assert node["environment"].items() >= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "token"}.items()


def test_the_gpu_worker_asks_for_gpus_and_starts_with_its_profile_alone() -> None:
    (device,) = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
    assert SERVICES["gpu-worker"]["profiles"] == ["gpu"]


def test_no_command_line_shows_a_secret() -> None:
    for service in SERVICES.values():
        assert "$ecret" not in str([service.get("entrypoint"), service.get("command"), service.get("healthcheck")])


def test_the_image_has_the_tested_versions_and_its_own_user() -> None:
    assert "--constraint constraints.txt" in DOCKERFILE
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M) == ["1000:1000"]
    for service in SERVICES.values():
        if service["image"].startswith("anytime"):
            owned = [volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")]
            assert all(f"{folder} " in DOCKERFILE.replace("\n", " ") for folder in owned)


def test_the_image_is_made_of_what_the_ignore_file_lets_through() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert "*" in lines
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for word in line.split()}
    assert copied == set(allowed)
    assert all((REPOSITORY / path).exists() for path in copied)
    assert not any(fnmatch(".env", path) or path == "runs" for path in allowed)


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_docker_compose_reads_it_as_the_tests_do(tmp_path: Path) -> None:
    command = ["docker-compose", "--file", str(REPOSITORY / "docker-compose.yml"), "--profile=gpu"]
    command += ["--profile=orchestrate", "config"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "POSTGRES_PASSWORD" in refused.stderr
    told = subprocess.run(command, env=environment | SECRETS, capture_output=True, text=True, check=True)
    found = yaml.safe_load(told.stdout.replace("$$", "$"))["services"]
    assert found.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        assert words(found[name].get("command")) == words(service.get("command"))
        assert found[name].get("environment", {}) == service.get("environment", {})
        assert found[name].get("healthcheck", {}).get("test") == service.get("healthcheck", {}).get("test")
