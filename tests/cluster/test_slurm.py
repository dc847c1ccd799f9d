"""The SLURM script runs, with stand-ins for SLURM itself: on two nodes, and through a time limit and a preemption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster_user import FAULTS, SECONDS, STEPS_PER_EPOCH, Finished, User, assert_same_numbers, wait_until
from containers import REPOSITORY, Containers, need_namespaces

TINY = """
name: tiny
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, opt: {regime: opt, at: [1]}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
SCRIPT = REPOSITORY / "deploy" / "slurm.sh"
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
        "entrypoint": [str(SCRIPT)],
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
    command = [str(SCRIPT), "sweep.yaml"]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert said == f"700 /tmp/ray-{job}-0\n"
    folder = Path(f"/tmp/ray-{job}-0")
    assert not folder.exists()
    folder.mkdir()
    try:  # somebody was there first
        assert subprocess.run(command, env=variables, capture_output=True, check=False).returncode != 0
    finally:
        folder.rmdir()


def test_a_node_of_slurm_gives_out_the_cpus_that_it_has_there(tmp_path: Path) -> None:
    variables = stand_ins(tmp_path, {"srun": SRUN, "ray": 'printf "<%s>" "$@"; echo'}, "7")
    variables["RAY_TMPDIR"] = str(tmp_path)  # both nodes are this machine
    command = [str(SCRIPT), "my sweep.yaml", "--storage", "/srv/$HOME"]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    begin = "<symmetric-run><--address><node1:6379><--min-nodes><2>"
    shell = '<--><bash><-c><echo $$ >"$DRIVER" && exec orchestrate sweep "$@">'
    end = f"{shell}<sweep><my sweep.yaml><--storage></srv/$HOME>"
    assert said.splitlines() == [f"{begin}<--num-cpus={cpus}>{end}" for cpus in (3, 5)]


SCONTROL = 'if [ "$1" = requeue ]; then touch {folder}/requeued-"$2"; else echo node1; fi'

RAY = """
while [ "$1" != -- ]; do shift; done
shift
"$@"
"""
"""In place of `ray symmetric-run`: runs the command."""

WAITING = """
trap "touch saved; exit $ENDS" TERM
touch begun
while :; do sleep 0.05; done
"""
"""A sweep that saves its state on SIGTERM, and ends with this exit code."""


@dataclass(frozen=True)
class Job:
    """One life of a job, with stand-ins; ``folder`` shows what was done."""

    folder: Path
    variables: dict[str, str]

    @classmethod
    def of(cls, folder: Path, orchestrate: str, state: str = "RUNNING", ends: int = 1) -> Job:
        scripts = {"ray": RAY, "orchestrate": orchestrate, "squeue": f"echo {state}"}
        scripts["scontrol"] = SCONTROL.format(folder=folder)
        variables = stand_ins(folder, scripts, f"of-a-test-{os.getpid()}")
        return cls(folder, variables | {"SLURM_CPUS_ON_NODE": "1", "ENDS": str(ends)})

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(SCRIPT), "sweep.yaml"], cwd=self.folder, env=self.variables)

    @property
    def requeued(self) -> bool:
        return (self.folder / f"requeued-{self.variables['SLURM_JOB_ID']}").exists()


def signal_asked_for() -> signal.Signals:
    """What the script has SLURM send to the batch shell before the time limit."""
    (name,) = re.findall(r"^#SBATCH .*--signal=B:(\w+)@300", SCRIPT.read_text(), re.M)
    return signal.Signals[f"SIG{name}"]


@pytest.mark.parametrize("preempted", [False, True])
def test_a_job_that_is_told_to_stop_saves_its_state_and_requeues_itself(tmp_path: Path, preempted: bool) -> None:
    job = Job.of(tmp_path, WAITING)
    process = job.start()
    wait_until((tmp_path / "begun").exists, "the sweep runs")
    process.send_signal(signal.SIGTERM if preempted else signal_asked_for())
    assert process.wait(timeout=20) == 1
    assert (tmp_path / "saved").exists()
    assert job.requeued
    assert not Path(f"/tmp/ray-{job.variables['SLURM_JOB_ID']}-0").exists()


@pytest.mark.parametrize(
    ("state", "ends", "code"), [("RUNNING", 0, 0), ("COMPLETING", 1, 1)], ids=["it has ended by then", "scancel"]
)
def test_a_job_that_has_no_reason_to_go_on_does_not(tmp_path: Path, state: str, ends: int, code: int) -> None:
    job = Job.of(tmp_path, WAITING, state, ends)
    process = job.start()
    wait_until((tmp_path / "begun").exists, "the sweep runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == code
    assert not job.requeued


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_sweep_that_ends_by_itself_ends_its_job(tmp_path: Path, code: int) -> None:
    job = Job.of(tmp_path, f"exit {code}")
    assert job.start().wait(timeout=20) == code
    assert not job.requeued


def test_a_job_may_be_requeued_and_keeps_what_its_earlier_life_printed() -> None:
    options = " ".join(re.findall(r"^#SBATCH (.*)", SCRIPT.read_text(), re.M)).split()
    assert {"--requeue", "--open-mode=append"} <= set(options)


@pytest.mark.cluster
def test_a_requeued_job_gives_the_bits_of_an_undisturbed_one(finished: tuple[User, Finished], tmp_path: Path) -> None:
    """The job is told to stop while a trial is in the middle of an epoch; its second life ends the sweep."""
    need_namespaces()
    (tmp_path / "volumes").mkdir()
    user, tools = User(tmp_path / "volumes" / "shared", finished[0].sweep_file.read_text()), tmp_path / "tools"
    (user.folder / "faults").mkdir()
    stand_ins(tools, {"squeue": "echo RUNNING", "scontrol": SCONTROL.format(folder="/srv/shared")}, "7")
    service = node(tools)
    service["environment"] |= {
        "SLURM_JOB_NUM_NODES": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")])),
        "FAULTS_FOLDER": "/srv/shared/faults",
        "FAULTS": json.dumps([{"step": 2 * STEPS_PER_EPOCH + 5, "do": "wait", "times": 1}]),
    }
    with Containers({"services": {"node1": service}}, tmp_path) as containers:

        def start() -> subprocess.Popen[bytes]:
            return containers.start("node1", f"/srv/shared/{user.sweep_file.name}", "--storage", "/srv/shared/runs")

        said, first = containers.log("node1"), start()
        waits = user.folder / "faults" / "0-0"
        wait_until(lambda: waits.exists() or first.poll() is not None, "a trial waits in its third epoch", SECONDS)
        script_of(first).send_signal(signal_asked_for())
        wait_until(lambda: "running trials save their state" in said.read_text(), "the sweep is told to stop")
        (user.folder / "faults" / "go").touch()
        assert first.wait(timeout=SECONDS) == 1, said.read_text()
        assert (user.folder / "requeued-7").exists()
        ((stopped, epochs),) = user.epochs().items()
        assert user.results() == {}
        service["environment"]["SLURM_RESTART_COUNT"] = "1"
        assert start().wait(timeout=SECONDS) == 0, said.read_text()
    assert user.epochs()[stopped][len(epochs)].first == epochs[-1].last == 3 * STEPS_PER_EPOCH
    assert user.attempts() == dict.fromkeys(user.results(), 1) | {stopped: 2}
    assert_same_numbers(user, finished[0])


def script_of(service: subprocess.Popen[bytes]) -> psutil.Process:
    """The batch script, which alone SLURM sends its signal to."""
    below = psutil.Process(service.pid).children(recursive=True)
    return next(it for it in below if it.cmdline()[:2] == ["/bin/bash", str(SCRIPT)])
