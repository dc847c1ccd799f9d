"""Nodes that are lost: one of two, the head, and one whose link is cut. Each is a real Ray node on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cluster_user import (
    CHAOS,
    CHAOS_EPOCHS,
    CHAOS_TRIALS,
    LONG,
    Finished,
    User,
    assert_browsable,
    assert_same,
    free_port,
    wait_until,
)
from ray_nodes import QUICK, Node, listens, trial_on

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MIDDLE = {"step": 20, "do": "wait", "times": 2}
"""The first two trials, one on each node, wait in their second epoch, with a checkpoint of the first."""
CHECKPOINT = 11


@pytest.fixture
def steady(user: User) -> User:
    """A user of the sweep of many trials, of which two wait in the middle."""
    user.sweep_file.write_text(CHAOS)
    user.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"} | ({} if LONG else QUICK)
    user.faults(MIDDLE)
    return user


def wait_for_both(user: User, driver: subprocess.Popen[str]) -> None:
    """Until a trial waits on each node."""
    marks = [user.folder / "faults" / f"0-{number}" for number in range(2)]
    wait_until(lambda: all(mark.exists() for mark in marks) or driver.poll() is not None, "a trial waits on each node")
    assert driver.poll() is None, driver.communicate()


def test_what_ran_on_a_lost_node_goes_on_elsewhere_and_after_the_loss_of_the_head_on_a_new_cluster(
    undisturbed: tuple[User, Finished], steady: User
) -> None:
    user, port, told = steady, free_port(), steady.folder / "told.json"
    with Node(user, "127.0.0.2", port=port) as head:
        wait_until(lambda: listens(head.address), "the head listens")
        with Node(user, "127.0.0.3", head=head.address) as node:
            driver = user.start("sweep", "--address", head.address, "--notify", f"tee {told}")
            wait_for_both(user, driver)
            moved, staying, there = trial_on(user, node), trial_on(user, head), node.pids()
        (user.folder / "faults" / "go").touch()
        wait_until(lambda: moved in user.results() and len(user.results()) >= 4, "the sweep goes on")
        first, second, *_ = user.epochs()[moved][1:]
        assert (first.first, second.first) == (CHECKPOINT, CHECKPOINT)
        assert first.pid in there
        assert second.pid not in there
        assert user.attempts()[moved] == 2
        assert user.attempts()[staying] == 1
    _, said = driver.communicate(timeout=120)
    ended = user.results()
    assert "its process died; starts again from its last checkpoint" in said
    assert driver.returncode == 1
    assert "Traceback" not in said
    assert "GCS" not in said
    end = said.partition("error: the head node of the Ray cluster is gone\n")[2].splitlines()
    left = f"{CHAOS_TRIALS - len(ended)} of {CHAOS_TRIALS} trials have not ended"
    assert end[0] == f"{left}; the same command goes on with them"
    assert end[1].endswith(f"orchestrate sweep {user.sweep_file} --storage {user.storage} --address {head.address}")
    assert json.loads(told.read_text())["event"] == "failed"

    with Node(user, "127.0.0.2", port=port) as head:
        wait_until(lambda: listens(head.address), "the new head listens")
        done = user.run("sweep", "--address", head.address)
    assert_same(user, done, *undisturbed)
    assert ended.items() <= user.results().items()
    assert_browsable(user, CHAOS_TRIALS, CHAOS_EPOCHS)


class Network:
    """Two network namespaces with an address each, and a link between them."""

    def __init__(self) -> None:
        self.hosts = "10.77.0.1", "10.77.0.2"
        self._names = [f"orchestrate{os.getpid()}{side}" for side in "ab"]
        self._ends = [f"o{os.getpid()}{side}" for side in "ab"]

    def __enter__(self) -> Network:
        with ExitStack() as stack:
            for name in self._names:
                self._ip("netns", "add", name)
                stack.callback(self._ip, "netns", "del", name)
            self._ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
            for name, end, host in zip(self._names, self._ends, self.hosts, strict=True):
                self._ip("link", "set", end, "netns", name)
                self._ip("-n", name, "address", "add", f"{host}/24", "dev", end)
                self._ip("-n", name, "link", "set", end, "up")
                self._ip("-n", name, "link", "set", "lo", "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def inside(self, side: int) -> tuple[str, ...]:
        """Words before a command that is to run there."""
        return "ip", "netns", "exec", self._names[side]

    def link(self, state: str) -> None:
        self._ip("-n", self._names[1], "link", "set", self._ends[1], state)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)


def _namespaces() -> bool:
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    return subprocess.run(["unshare", "--net", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture
def network() -> Iterator[Network]:
    if not _namespaces():
        pytest.skip("network namespaces cannot be made: they need root, and iproute2")
    with Network() as network:
        yield network


def test_a_node_whose_link_is_cut_writes_on_and_overwrites_nothing(
    undisturbed: tuple[User, Finished], steady: User, network: Network
) -> None:
    """Its trial goes on from there on the other node, and the worker that was cut off wakes up beside it, with the link
    still down; then it is restored."""
    user, (here, there) = steady, network.hosts
    go = user.folder / "faults"
    with Node(user, here, port=free_port(), before=network.inside(0)) as head:
        user.before = network.inside(0)
        wait_until(lambda: listens(head.address, network.inside(1)), "the head listens")
        with Node(user, there, head=head.address, before=network.inside(1)) as node:
            driver = user.start("sweep", "--address", head.address)
            wait_for_both(user, driver)
            moved, staying = trial_on(user, node), trial_on(user, head)
            zombie, other = user.epochs()[moved][-1].pid, user.epochs()[staying][-1].pid
            network.link("down")
            (go / f"go-{other}").touch()
            wait_until(lambda: user.attempts()[moved] == 2, "Ray has noticed, and begun the trial again", 180)
            assert zombie in node.pids()
            (go / f"go-{zombie}").touch()
            wait_until((go / f"went-{zombie}").exists, "the one that was cut off goes on")
            refusal = f"{zombie} {moved}: attempt 1 came back after another had begun\n"
            wait_until((go / "refused").exists, "its write is refused")
            assert (go / "refused").read_text() == refusal
            wait_until(lambda: len(user.results()) >= 12, "the sweep goes on")
            network.link("up")
            wait_until(lambda: zombie not in node.pids(), "a node that was given up ends its processes")
            stdout, stderr = driver.communicate(timeout=120)
    assert_same(user, Finished(driver.returncode, stdout, stderr), *undisturbed)
    attempts = {trial_id: found["attempts"] for trial_id, found in user.results().items()}
    assert attempts == dict.fromkeys(attempts, 1) | {moved: 2}
    assert [epoch.pid for epoch in user.epochs()[moved]].count(zombie) == 2, "it began nothing after that"
    assert_browsable(user, CHAOS_TRIALS, CHAOS_EPOCHS)
