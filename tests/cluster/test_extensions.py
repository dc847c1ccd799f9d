"""Extensions on a cluster of two nodes: a file's text goes with the sweep, an installed package must be there."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster_user import User, free_port, wait_until
from test_nodes import Node, listens
from written import RAMP

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SWEEP = """
name: mine
extensions: [{extension}]
networks: [{{n: 1, c: 2}}]
datasets: [digits]
methods:
  ramp: {{weights: ramp, grid: {{power: [0.5, 1, 2]}}}}
seeds: [0, 1]
training: {{steps: 44, batch_size: 64, learning_rate: {{0: 0.1}}}}
resources: {{cpus: 1, gpus: 0}}
report: {{baseline: ramp power=1, figures: [cost]}}
"""
TRIALS = 6


def user_in(folder: Path, text: str = "") -> User:
    user = User(folder, text)
    user.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return user


def with_path(user: User, path: Path) -> None:
    user.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))


def cluster_of(stack: ExitStack, first: User, second: User) -> tuple[Node, Node]:
    head = stack.enter_context(Node(first, "127.0.0.2", port=free_port()))
    wait_until(lambda: listens(head.address), "the head listens")
    return head, stack.enter_context(Node(second, "127.0.0.3", head=head.address))


def test_a_file_beside_the_sweep_goes_to_nodes_that_cannot_read_it(tmp_path: Path) -> None:
    user, elsewhere = user_in(tmp_path / "here", SWEEP.format(extension="ramp.py")), user_in(tmp_path / "there")
    (user.folder / "ramp.py").write_text(f"from helper import BASE\n{RAMP}")
    (user.folder / "helper.py").write_text("BASE = 0.01")
    with ExitStack() as stack:
        head, _ = cluster_of(stack, elsewhere, elsewhere)
        done = user.run("sweep", "--address", head.address, "--trust")
        again = user.run("sweep", "--address", head.address)
    assert done.code == 0, done.stderr
    results = user.results()
    assert len(results) == TRIALS
    assert {found["provenance"]["extensions"].split()[0] for found in results.values()} == {"ramp.py"}
    assert again.code == 0
    assert user.attempts() == dict.fromkeys(results, 1)
    before = user.run("report", "--format", "json")
    (user.folder / "ramp.py").unlink()
    shown = user.run("report", "--format", "json")
    assert (shown.code, shown.stdout) == (0, before.stdout)
    assert "shown is the sweep as it was last run" in shown.stderr


def installed(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "lab_of_two.py").write_text(text)
    return folder


def test_an_installed_package_that_is_missing_or_differs_is_one_message_for_each_trial(tmp_path: Path) -> None:
    user, other, without = (user_in(tmp_path / name) for name in ("here", "other", "without"))
    user.sweep_file.write_text(SWEEP.format(extension="lab_of_two"))
    with_path(user, installed(tmp_path / "site", RAMP))
    with_path(other, installed(tmp_path / "site_of_other", RAMP.replace("0.01", "0.02")))
    with ExitStack() as stack:
        head, _ = cluster_of(stack, other, without)
        done = user.run("sweep", "--address", head.address)
        doctor = user.run("doctor", "--address", head.address, "--format", "json")
    assert done.code == 1
    assert "Traceback" not in done.stderr
    missing = "lab_of_two is not installed here; every node needs it"
    differs = f"lab_of_two differs between {tmp_path}/site/lab_of_two.py and {tmp_path}/site_of_other/lab_of_two.py"
    assert missing in done.stderr or differs in done.stderr, done.stderr  # one node may be the first with all of them
    assert "6 failed" in done.stderr, done.stderr
    assert "input" in done.stderr, done.stderr
    assert user.results() == {}
    found = [check["found"] for check in json.loads(doctor.stdout) if check["name"] == "extension"]
    assert len(found) == 2
    assert any("is not installed here" in said for said in found)
    assert any("differs between" in said for said in found)
