"""A cluster that grows and shrinks while a sweep runs on it, as an autoscaler's does. Each node is a real Ray node."""

from __future__ import annotations

import pytest
from cluster_user import User, assert_browsable, free_port, wait_until
from ray_nodes import QUICK, Node, listens, trial_on

SWEEP = """
name: growing
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1]
training: {steps: 33, batch_size: 128, learning_rate: {0: 0.1}}
retries: {checkpoint_share: 1}
report: {figures: [cost]}
"""
TRIALS, EPOCHS, STEPS_PER_EPOCH = 4, 3, 11
MIDDLE = {"step": STEPS_PER_EPOCH + 5, "do": "wait", "times": 2}
"""The first two trials wait in their second epoch, with a checkpoint of the first."""


@pytest.mark.cluster
def test_a_sweep_runs_on_nodes_as_they_come_and_go_and_ends_each_trial_once(user: User) -> None:
    user.sweep_file.write_text(SWEEP)
    user.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"} | QUICK
    user.faults(MIDDLE)
    waits = [user.folder / "faults" / f"0-{number}" for number in range(2)]
    with Node(user, "127.0.0.2", port=free_port(), cpus=0) as head:
        wait_until(lambda: listens(head.address), "the head listens")
        driver = user.start("sweep", "--address", head.address, "--wait-for-nodes", "--until", "8h")
        wait_until((user.storage / "sweeps" / "growing" / "driver.json").exists, "the sweep has begun without a worker")
        with Node(user, "127.0.0.3", head=head.address) as leaving:
            wait_until(waits[0].exists, "a trial waits on the first node")
            moved = trial_on(user, leaving)
            with Node(user, "127.0.0.4", head=head.address) as staying:
                wait_until(waits[1].exists, "a trial waits on the second node")
                kept = trial_on(user, staying)
                leaving.kill()
                (user.folder / "faults" / "go").touch()
                said = driver.communicate(timeout=90)
    assert driver.returncode == 0, said
    assert user.attempts() == dict.fromkeys(user.results(), 1) | {moved: 2}
    assert user.epochs()[moved][-2].first == STEPS_PER_EPOCH, "it went on from its checkpoint"
    assert len(user.epochs()[kept]) == EPOCHS
    assert_browsable(user, TRIALS, EPOCHS)
