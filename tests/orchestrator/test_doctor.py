"""What `orchestrate doctor` finds, on conditions as they are met. tests/cluster/test_compose.py has a cluster too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from own_data import as_npz, pixels

from anytime_core.data.own.source import Source
from orchestrator import doctor
from orchestrator.cli import cli
from orchestrator.cluster import probe
from orchestrator.cluster.probe import NOT_CONVERTED, MachineReport, NodeReport, Request, Torch
from orchestrator.doctor import HERE, Check, State
from orchestrator.extensions import finding
from orchestrator.owndata import formats
from orchestrator.sweep.trial import Resources
from orchestrator.system import hardware
from orchestrator.system.hardware import Gpu
from orchestrator.tracking.store import client

GIB = 2**30
QUICKSTART = Path(__file__).parents[2] / "sweeps" / "quickstart.yaml"
H100 = Gpu(name="NVIDIA H100", memory=80 * GIB, used=GIB, driver="570.1")
MACHINE = MachineReport(
    host="one",
    python="3.11.7",
    packages={"ray": "2.60.0", "torch": "2.13.0", "numpy": "2.4.6"},
    code="abc",
    cpus=8,
    gpus=(),
    torch=Torch(version="2.13.0", cuda="13.0"),
    free=100 * GIB,
)
NODE = NodeReport(address="10.0.0.2", cpus=8, gpus=0, machine=replace(MACHINE, host="two"), skew=0.1, give=0.2)


def states(checks: Iterator[Check]) -> list[str]:
    return [check.state for check in checks]


# Software


def test_this_machine_has_what_the_tests_run_with() -> None:
    assert doctor.packages().state is not State.PROBLEM


def test_another_version_than_the_tested_one_is_a_warning(tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# tested\nclick==1.0\n")
    check = doctor.packages(constraints)
    assert check.state is State.WARNING
    assert ", tested with 1.0" in check.found
    assert check.mend == "pip install click==1.0"


def test_a_version_out_of_range_and_a_package_that_is_missing_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", {"ray": "2.40.0", "click": None}.get)
    check = doctor.packages()
    assert check.state is State.PROBLEM
    assert "ray 2.40.0" in check.found
    assert "click missing" in check.found
    assert "'click>=8.2'" in check.mend


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        (Torch(error="ModuleNotFoundError: No module named 'torch'"), "No module named 'torch'"),
        (Torch(version="2.13.0+cpu"), "built for CPUs, uses 0 of 1 GPUs of driver 570.1"),
        (
            Torch(version="2.13.0", cuda="13.0", error="driver too old"),
            "uses 0 of 1 GPUs of driver 570.1: driver too old",
        ),
    ],
)
def test_gpus_that_torch_cannot_use_are_a_problem(torch: Torch, said: str) -> None:
    (check,) = doctor.gpus({HERE: replace(MACHINE, gpus=(H100,), torch=torch)})
    assert check.state is State.PROBLEM
    assert said in check.found
    assert check.mend


def test_gpus_are_told_with_driver_and_memory() -> None:
    torch = Torch(version="2.13.0", cuda="13.0", gpus=("NVIDIA H100",) * 2)
    (check,) = doctor.gpus({HERE: replace(MACHINE, gpus=(H100, H100), torch=torch)})
    assert check.state is State.OK
    assert check.found.endswith("CUDA 13.0, driver 570.1, 2 NVIDIA H100 of 80 GiB, 2 GiB in use")


def test_what_nvidia_smi_says_is_read() -> None:
    text = "NVIDIA H100 80GB HBM3, 81559, 1024, 580.95\nNVIDIA H100 MIG, [N/A], [N/A], 580.95\n"
    assert hardware.parse_gpus(text) == (
        Gpu(name="NVIDIA H100 80GB HBM3", memory=81_559 * 2**20, used=GIB, driver="580.95"),
        Gpu(name="NVIDIA H100 MIG", memory=0, used=0, driver="580.95"),
    )


# The cluster


@pytest.mark.parametrize("address", ["127.0.0.1:1", "here:there"])
def test_where_no_cluster_answers_it_says_how_to_start_one(tmp_path: Path, address: str) -> None:
    request = Request(storage=tmp_path, token="", data_root=tmp_path)
    nodes, refused = doctor._ask(address, request)
    (check,) = doctor.ray_nodes(address, nodes, refused)
    assert check.state is State.PROBLEM
    assert f"no Ray cluster at {address}" in check.found
    assert f"ray start --address={address}" in check.mend


def test_what_keeps_ray_from_starting_here_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.own_cluster().state is State.OK
    monkeypatch.setenv("PATH", "/nowhere")
    check = doctor.own_cluster()
    assert check.state is State.PROBLEM
    assert check.found == "there is no bash (PATH is '/nowhere'), with which Ray starts its workers"
    assert check.mend == "install it, or mend PATH"


def test_a_node_that_does_not_answer_is_named() -> None:
    (check,) = doctor.ray_nodes("auto", [replace(NODE, machine=None, error="no answer in 180 s")], "")
    assert check.state is State.PROBLEM
    assert check.found == "10.0.0.2: 8 CPUs, 0 GPUs: no answer in 180 s"


def test_a_node_that_gives_out_more_cpus_than_it_may_use_is_a_warning() -> None:
    machine = replace(MACHINE, cpus=4, limits=("4 of 8 CPUs by the CPU set of this process",))
    (check,) = doctor.ray_nodes("auto", [replace(NODE, machine=machine)], "")
    assert check.state is State.WARNING
    assert "8 CPUs, 0 GPUs, of which its processes may use 4 of 8 CPUs by the CPU set" in check.found
    assert check.mend.endswith("ray start --num-cpus=4")


def test_a_node_is_told_with_its_memory() -> None:
    (check,) = doctor.ray_nodes("auto", [replace(NODE, machine=replace(MACHINE, memory=16 * GIB))], "")
    assert (check.state, check.found) == (State.OK, "one (10.0.0.2): 8 CPUs, 0 GPUs, 16.0 GiB of memory")


def test_this_machine_is_told_as_far_as_it_may_be_used() -> None:
    check = doctor.machine(replace(MACHINE, memory=16 * GIB, limits=("8 of 128 CPUs by the CPU set of this process",)))
    assert check.found.startswith("8 CPUs, 0 GPUs, 16.0 GiB of memory; this process may use 8 of 128 CPUs by ")


def test_gpus_that_the_environment_hides_are_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on one of eight with CUDA_VISIBLE_DEVICES=3."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nfor i in 0 1 2 3 4 5 6 7; do echo 'NVIDIA A100, 81920, 10, 550.54'; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(probe, "_torch", lambda: Torch(version="2.13.0", cuda="12.6", gpus=("NVIDIA A100",)))
    here = probe.look()
    assert len(here.gpus) == 1
    assert states(doctor.gpus({HERE: here})) == [State.OK]


def test_a_node_that_has_left_is_a_warning() -> None:
    (check,) = doctor.ray_nodes("auto", [replace(NODE, machine=None, left=True)], "")
    assert check.state is State.WARNING


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.OK),
        ({"code": "def"}, State.PROBLEM),
        ({"packages": MACHINE.packages | {"torch": "2.12.0"}}, State.PROBLEM),
        ({"packages": MACHINE.packages | {"numpy": "2.4.5"}}, State.WARNING),
        ({"python": "3.11.9"}, State.WARNING),
    ],
)
def test_nodes_must_agree_on_code_ray_and_torch(changes: dict[str, Any], state: State) -> None:
    (check,) = doctor.agreement(MACHINE, [replace(NODE, machine=replace(MACHINE, **changes))])
    assert check.state is state


@pytest.mark.parametrize(
    ("cpus", "gpus", "state"), [(8, 0.0, State.OK), (9, 0.0, State.PROBLEM), (1, 0.5, State.PROBLEM)]
)
@pytest.mark.parametrize("nodes", [[NODE], []])
def test_a_trial_must_fit_on_a_node(cpus: int, gpus: float, state: State, nodes: list[NodeReport]) -> None:
    assert states(doctor.fits(Resources(cpus=cpus, gpus=gpus), MACHINE, nodes, "")) == [state]


@pytest.mark.parametrize(
    ("skew", "give", "state"),
    [(0.5, 0.1, State.OK), (3.0, 2.0, State.OK), (3.0, 0.1, State.WARNING), (-60.0, 1.0, State.WARNING)],
)
def test_clocks_apart_are_told_as_far_as_they_can_be(skew: float, give: float, state: State) -> None:
    assert states(doctor.clocks([replace(NODE, skew=skew, give=give)])) == [state]


# Storage


def look(storage: Path, token: str, data_root: Path | None = None, datasets: tuple[str, ...] = ()) -> MachineReport:
    return probe.look(Request(storage=storage, token=token, data_root=data_root or storage, datasets=datasets))


def test_what_is_left_in_the_storage_is_answered_and_taken_away(tmp_path: Path) -> None:
    storage = tmp_path / "shared" / "runs"
    with probe.left_in(storage) as token:
        there = look(storage, token)
        assert there.storage == ""
        assert probe.answered(storage, token, there.answer)
    assert not list(tmp_path.iterdir())


def test_a_node_with_another_folder_there_does_not_see_what_was_left(tmp_path: Path) -> None:
    with probe.left_in(tmp_path / "a") as token:
        there = look(tmp_path / "b", token)
        assert not probe.answered(tmp_path / "a", token, there.answer)
    (check,) = doctor.shared_storage(tmp_path, "", {HERE: MACHINE, "two": there}, {"two": "unseen"})
    assert check.state is State.PROBLEM
    assert "two" in check.found
    assert "does not hold the file written here" in check.found


@pytest.mark.parametrize("storage", ["/proc/none", "/dev/null/runs"])
def test_storage_that_cannot_be_written_is_a_problem(storage: str) -> None:
    done = CliRunner().invoke(cli, ["doctor", "--storage", storage, "--format", "json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert checks["storage"]["state"] == "problem"
    assert storage in checks["storage"]["found"]
    assert "--storage" in checks["storage"]["mend"]


@pytest.mark.parametrize(("left", "state"), [(100, State.OK), (5, State.WARNING), (0.5, State.PROBLEM)])
def test_little_space_is_told(left: float, state: State) -> None:
    assert states(doctor.disk(Path("runs"), int(left * GIB), {HERE: MACHINE})) == [state]
    assert states(doctor.disk(Path("runs"), None, {HERE: replace(MACHINE, free=int(left * GIB))})) == [state]


# Data


def test_data_that_is_missing_is_told_with_where_to_get_it(tmp_path: Path) -> None:
    assert "orchestrate data fetch cifar10" in probe.data_fault("cifar10", tmp_path)
    assert probe.data_fault("digits", tmp_path) == ""


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({HERE: "", "two": ""}, [State.OK]),
        ({HERE: "", "two": NOT_CONVERTED}, [State.WARNING]),
        ({HERE: NOT_CONVERTED, "two": "cifar10: not found: /data"}, [State.WARNING, State.PROBLEM]),
    ],
)
def test_each_node_without_the_data_is_named(faults: dict[str, str], expected: list[State]) -> None:
    settings = doctor.DoctorSettings(storage=Path(), data_root=Path(), tracking_uri="", datasets=("cifar10",))
    places = {place: replace(MACHINE, data={"cifar10": fault}) for place, fault in faults.items()}
    checks = list(doctor.data(settings, places))
    assert [check.state for check in checks] == expected
    assert all("two" in check.found for check in checks[1:])


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ("", State.OK, "pets: ready"),
        (NOT_CONVERTED, State.WARNING, "two: pets is there, and is read by its first trial"),
        ("pets: /data/pets is not there", State.PROBLEM, "two: pets: /data/pets is not there"),
    ],
)
def test_each_node_without_the_users_own_data_is_named(fault: str, state: State, words: str) -> None:
    pets = Source(name="pets", path=Path("/data/pets"), format="image_folder")
    settings = doctor.DoctorSettings(
        storage=Path(), data_root=Path(), tracking_uri="", own_data=((pets, "0123456789abcdef"),)
    )
    places = {HERE: replace(MACHINE, data={"pets": ""}), "two": replace(MACHINE, data={"pets": fault})}
    (check,) = doctor.data(settings, places)
    assert check.state is state
    assert words in check.found
    assert ("/data/pets" in check.mend) == (state is State.PROBLEM)


def test_a_node_says_whether_the_users_own_data_are_those_of_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    mine = Source(name="mine", path=tmp_path / "data" / "mine.npz", format="npz")
    assert probe.own_fault(mine, "") == f"mine: {mine.path} is not there"
    as_npz(mine.path, pixels())
    assert probe.own_fault(mine, "") == NOT_CONVERTED
    content = formats.load(mine).described.content
    assert probe.own_fault(mine, content) == ""
    assert probe.own_fault(mine, "other").endswith(f"is {content} here, and that of the trial is other")


# MLflow

of_mlflow = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own


def test_a_port_where_nothing_listens_is_told_with_what_to_do() -> None:
    check = doctor.tracking("http://me:secret@127.0.0.1:1")
    assert (check.state, check.found) == (State.PROBLEM, "http://me:***@127.0.0.1:1: Connection refused")
    assert "start the server" in check.mend


@of_mlflow
def test_a_database_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert doctor.tracking(uri).found.endswith("will be made when a sweep begins")
    assert not list(tmp_path.iterdir())
    client(uri)
    assert doctor.tracking(uri).state is State.OK
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM experiment_tags").fetchone() == (0,)
    database.close()


@of_mlflow
def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    check = doctor.tracking(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert check.state is State.PROBLEM
    assert "move that file away" in check.mend


@of_mlflow
def test_a_database_of_another_mlflow_is_told_with_how_to_upgrade_it(tmp_path: Path) -> None:
    client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    other = (tmp_path / "mlflow.db").rename(tmp_path / "other.db")  # by its own name, MLflow would not look again
    with sqlite3.connect(other) as database:
        database.execute("UPDATE alembic_version SET version_num = 'cc1f77228345'")
    database.close()
    check = doctor.tracking(f"sqlite:///{other}")
    assert check.state is State.PROBLEM
    assert "found version cc1f77228345" in check.found
    assert "mlflow db upgrade" in check.mend
    assert "start the server" not in check.mend


# Shown


def test_what_is_wrong_is_told_with_how_to_mend_it_below() -> None:
    checks = [
        Check(name="ray", state=State.OK, found="fine"),
        Check(name="disk", state=State.PROBLEM, found="full", mend="make room"),
    ]
    assert doctor.as_text(checks).splitlines() == [
        " ok        ray        fine",
        " problem   disk       full",
        "                      → make room",
        "",
        "1 problem, 1 ok",
    ]


def test_a_machine_that_is_well_gives_exit_code_0(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["doctor", str(QUICKSTART), "--storage", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert "problem" not in done.output
    assert not list(tmp_path.iterdir())


# Extensions


def test_an_extension_is_told_where_it_is_missing_or_differs(tmp_path: Path) -> None:
    (tmp_path / "ramp.py").write_text("import numpy")
    shipped = finding.find("ramp.py", tmp_path)
    installed = replace(shipped, given="lab", module="lab", shipped=False)
    settings = doctor.DoctorSettings(
        storage=tmp_path, data_root=tmp_path, tracking_uri="", extensions=(shipped, installed)
    )
    places = {
        HERE: replace(MACHINE, extensions={"ramp.py": "", "lab": ""}),
        "two": replace(MACHINE, extensions={"ramp.py": "", "lab": "is not installed here; every node needs it"}),
    }
    sent, missing = doctor.extensions(settings, places)
    assert (sent.state, sent.found) == (State.OK, "ramp.py: is sent to workers")
    assert (missing.state, missing.found) == (
        State.PROBLEM,
        "two: lab is not installed here; every node needs it",
    )
    assert missing.mend == "install the same version on every node"


def test_a_machine_says_what_is_wrong_with_an_extension(tmp_path: Path) -> None:
    (tmp_path / "ramp.py").write_text("import numpy")
    shipped = finding.find("ramp.py", tmp_path)
    assert probe.extension_fault(shipped) == ""
    absent = replace(shipped, imports=("numpy", "no_such_library"))
    assert probe.extension_fault(absent) == "imports no_such_library, which is not installed here"
    gone = replace(shipped, given="lab", module="no_such_lab", shipped=False)
    assert probe.extension_fault(gone) == "is not installed here; every node needs it"
