"""What lies in deploy: the SLURM script runs on two nodes, with stand-ins for SLURM itself; KubeRay's file is read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import REPOSITORY, Containers, need_namespaces

TINY = """
name: tiny
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, opt: {regime: opt, at: [1]}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
NODES = ("node1", "node2")
TOOLS = {
    "scontrol": "printf '%s\\n' node1 node2",
    "srun": 'exec "$@"',  # on each node, as both run the script here
}

SRUN = """
if [ "$1" = rm ]; then exit 0; fi
for cpus in 3 5; do SLURM_CPUS_ON_NODE=$cpus "$@"; done
"""
"""On two nodes with different numbers of CPUs."""


def node(tools: Path) -> dict[str, Any]:
    return {
        "image": "anytime-orchestrator",
        "user": "1000:1000",
        "entrypoint": [str(REPOSITORY / "deploy" / "slurm.sh")],
        "volumes": ["shared:/srv/shared"],
        "environment": {
            "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
            "VENV": sys.prefix,
            "SLURM_JOB_ID": "7",
            "RAY_TMPDIR": "/tmp",  # where each of these nodes has a folder of its own for Ray
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_ON_NODE": "1",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        },
    }


@pytest.mark.cluster
def test_a_sweep_on_two_nodes_of_slurm_ends_and_leaves_nothing(tmp_path: Path) -> None:
    need_namespaces()
    (tmp_path / "tools").mkdir()
    for name, script in TOOLS.items():
        (tmp_path / "tools" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "tools" / name).chmod(0o755)
    (tmp_path / "volumes" / "shared").mkdir(parents=True)
    (tmp_path / "volumes" / "shared" / "tiny.yaml").write_text(TINY)
    services = {"services": {name: node(tmp_path / "tools") for name in NODES}}
    with Containers(services, tmp_path) as containers:
        for name in NODES:
            containers.start(name, "/srv/shared/tiny.yaml", "--storage", "/srv/shared/runs")
        code = containers.running["node1"].wait(timeout=240)
        said = containers.log("node1").read_text()
        assert code == 0, said
        assert "[4/4 done, 0 running, 0 failed" in said
        containers.running["node2"].wait(timeout=60)
        assert containers.processes() == []
    paths = (tmp_path / "volumes" / "shared" / "runs" / "trials").glob("*/result.json")
    hosts = {json.loads(path.read_text())["provenance"]["host"] for path in paths}
    assert hosts <= set(NODES)


def stand_ins(folder: Path, scripts: dict[str, str], job: str) -> dict[str, str]:
    """Programs in place of SLURM's and Ray's, and the environment of a job in which they are found."""
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "activate").touch()
    for name, script in (TOOLS | scripts).items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:/usr/bin:/bin",
        "VENV": str(folder / "venv"),
        "SLURM_JOB_ID": job,
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "RAY_AUTH_TOKEN": "0" * 64,
    }


def test_rays_files_on_a_node_of_slurm_are_in_a_folder_that_nobody_else_can_look_into(tmp_path: Path) -> None:
    job = f"of-a-test-{os.getpid()}"
    variables = stand_ins(tmp_path, {"ray": 'stat -c "%a %n" "$RAY_TMPDIR"'}, job)
    command = [str(REPOSITORY / "deploy" / "slurm.sh"), "sweep.yaml"]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert said == f"700 /tmp/ray-{job}\n"
    folder = Path(f"/tmp/ray-{job}")
    assert not folder.exists()
    folder.mkdir()
    try:  # somebody was there first
        assert subprocess.run(command, env=variables, capture_output=True, check=False).returncode != 0
    finally:
        folder.rmdir()


def test_a_node_of_slurm_gives_out_the_cpus_that_it_has_there(tmp_path: Path) -> None:
    variables = stand_ins(tmp_path, {"srun": SRUN, "ray": 'printf "<%s>" "$@"; echo'}, "7")
    variables["RAY_TMPDIR"] = str(tmp_path)  # both nodes are this machine
    command = [str(REPOSITORY / "deploy" / "slurm.sh"), "my sweep.yaml", "--storage", "/srv/$HOME"]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    begin = "<symmetric-run><--address><node1:6379><--min-nodes><2>"
    end = "<--><orchestrate><sweep><my sweep.yaml><--storage></srv/$HOME>"
    assert said.splitlines() == [f"{begin}<--num-cpus={cpus}>{end}" for cpus in (3, 5)]


def test_the_kubernetes_job_runs_a_sweep_of_ours_on_the_image_of_ours() -> None:
    job = yaml.safe_load((REPOSITORY / "deploy" / "kuberay.yaml").read_text())
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    constraints = (REPOSITORY / "constraints.txt").read_text()
    spec = job["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert (REPOSITORY / job["spec"]["entrypoint"].removeprefix("orchestrate sweep ")).is_file()
    assert f"\nray=={spec['rayVersion']}\n" in constraints
    assert spec["authOptions"] == {"mode": "token"}
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["automountServiceAccountToken"] is False
        assert container["image"].removeprefix("REGISTRY/") in re.findall(r"image: (\S+)", compose)
        assert pod["securityContext"]["runAsNonRoot"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/srv/runs", "/srv/data"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
