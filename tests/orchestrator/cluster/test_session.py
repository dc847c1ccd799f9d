"""A cluster of our own gives out what this process may use, and says why it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anytime_core.files import LocalFolder
from orchestrator.cluster import session
from orchestrator.errors import ClusterError
from orchestrator.system import limits
from orchestrator.system.hardware import Gpu, Node
from orchestrator.text import FromEnvironment


def test_ray_is_told_what_to_give_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "other_gpus", lambda: False)
    told = session._own(Node(name="a", cpu="", cpus=3.0, gpus=(Gpu(name="g", memory=0),)))
    assert (told["address"], told["num_cpus"], told["num_gpus"]) == ("local", 3, 1)
    monkeypatch.setattr(session, "other_gpus", lambda: True)
    assert "num_gpus" not in session._own(Node(name="a", cpu="", cpus=3.0))


@pytest.mark.parametrize("error", [Exception("The current node timed out during startup.\nMore."), OSError(28, "x")])
def test_whatever_ray_raises_is_one_message_with_a_remedy(tmp_path: Path, monkeypatch, error: Exception) -> None:
    def init(**options: object) -> None:
        raise error

    monkeypatch.setattr(session.ray, "init", init)
    monkeypatch.setattr(limits, "likely", lambda: ["/dev/shm has 1 MiB left: make room there"])
    with pytest.raises(ClusterError) as raised, session.cluster(None, LocalFolder(tmp_path), offer=_small()):
        pass
    first = str(error).splitlines()[0]
    assert str(raised.value) == f"Ray cannot start on this machine: {first}\n  /dev/shm has 1 MiB left: make room there"
    monkeypatch.setattr(limits, "likely", list)
    with pytest.raises(ClusterError, match=r"ray\.log and .*/ray-logs"), session.cluster(None, LocalFolder(tmp_path)):
        pass


def test_ray_is_not_started_where_it_cannot_start(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(session.ray, "init", None)
    monkeypatch.setattr(limits, "certain", lambda: ["3 more processes may begin here"])
    with pytest.raises(ClusterError, match="Ray cannot start on this machine\n  3 more"):  # noqa: SIM117
        with session.cluster(None, LocalFolder(tmp_path)):
            pass


def test_an_address_of_the_environment_is_named_with_its_variable(tmp_path: Path) -> None:
    address = FromEnvironment("127.0.0.1:1", "RAY_ADDRESS")
    with pytest.raises(ClusterError) as raised, session.cluster(address, LocalFolder(tmp_path)):
        pass
    assert str(raised.value) == (
        "no Ray cluster at RAY_ADDRESS=127.0.0.1:1: Connection refused; unset RAY_ADDRESS to use this machine alone"
    )


OFFERED = """
import sys
from anytime_core.files import LocalFolder
from orchestrator.system.environment import prepare_ray
prepare_ray(own_cluster=True)
from orchestrator.cluster import session
from orchestrator.system.hardware import Node
with session.cluster(None, LocalFolder(sys.argv[1]), offer=Node(name="small", cpu="", cpus=1)):
    print(session.ray.cluster_resources()["CPU"], file=sys.__stdout__)
"""


@pytest.mark.cluster
def test_a_cluster_of_our_own_has_as_many_cpus_as_offered(tmp_path: Path) -> None:
    """In a process of its own: Ray keeps the token of the first cluster that a process has seen."""
    command = [sys.executable, "-W", "ignore", "-c", OFFERED, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1.0"]


def _small() -> Node:
    return Node(name="small", cpu="", cpus=1)
