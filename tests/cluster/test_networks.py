"""Networks of a user's own on a real cluster: from the page's files to tables, and to every command."""

from __future__ import annotations

import json

import documented
import numpy as np
import pytest
from cluster_user import User
from forked import TORCH, Program

pytestmark = pytest.mark.cluster

OF_ONE = ("ann", "mlp", "8x2")


def test_the_page_trains_and_every_command_runs_over_its_sweep(user: User) -> None:
    text = documented.write(
        user.folder,
        networks="[{n: 1, c: 2}, {name: mlp, width: 8, depth: 2}]",
        methods="{ann: {}, opt: {regime: opt, at: [1]}}",
        training="{steps: 22, batch_size: 64, learning_rate: {0: 0.05}}",
        report="{figures: [cost]}",
    ).read_text()
    user = User(user.folder, text)
    said = user.run("sweep", "--trust")
    assert said.code == 0, said.stderr
    assert all(network in said.stdout for network in ("(1,2)", "mlp 8x2"))
    results = user.results()
    own = [found for found in results.values() if found["config"]["network"].get("name") == "mlp"]
    assert sorted((found["config"]["regime"]["name"], found["result"]["costs"]) for found in own) == [
        ("joint", [64 * 8 + 80, 64 * 8 + 160 + 64]),
        ("opt", [64 * 8 + 160 + 64]),
    ]
    assert {found["provenance"]["extensions"].split()[0] for found in own} == {"nets.py"}
    np.save(user.folder / "image.npy", np.zeros((8, 8), np.uint8))
    commands: dict[str, tuple[str, ...]] = {
        "plan": (),
        "status": (),
        "report": ("--format", "latex"),
        "show": OF_ONE,
        "profile": (*OF_ONE, "--repeats", "1"),
        "predict": (*OF_ONE, str(user.folder / "image.npy"), "--budget", "0.95", "--format", "json"),
        "reproduce": OF_ONE,
    }
    with Program(user.environment, TORCH) as program:
        for command, words in commands.items():
            done = user.run_in(program, command, *words)
            assert done.code == 0, (command, done.stderr)
            if command == "predict":
                assert [row["cost"] for row in json.loads(done.stdout)[0]["predictions"]] == [64 * 8 + 80]
        refused = user.run_in(program, "export", *OF_ONE, "--output", str(user.folder / "net.zip"))
    assert (refused.code, refused.stderr.count("\n")) == (2, 1)
    assert "not exportable" in refused.stderr
