"""One command tries the points of a grid on held-out images, and trains the best; after anything it goes on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_user import ONE_FIGURE, SECONDS, Finished, User, wait_until
from trials import digits_trial

from anytime_core.config import Aann, DataConfig, Joint
from anytime_core.result import EpochMetrics
from anytime_core.training.trainer import train
from orchestrator.ledger.bringing import Fate, bring, ids_in, source_at
from orchestrator.ledger.ledger import Ledger

pytestmark = pytest.mark.cluster

TUNED = f"""
name: tuned
networks: [{{n: 1, c: 2}}]
datasets: [digits]
methods:
  ann: {{}}
  aann: {{strategy: aann, tune: {{grid: {{gamma: [0.5, 1, 2]}}}}}}
  exp3: {{strategy: exp3, tune: {{grid: {{gamma: [0.5, 1]}}}}}}
seeds: [0, 1]
training: {{steps: 44, batch_size: 64, learning_rate: {{0: 0.1, 22: 0.01}}}}
{ONE_FIGURE}
"""
FIRST, RESULTS = 3 + 2, 3 * 2


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished, Finished]:
    """Stopped by ctrl-C in its first stage, then run to its end."""
    user = User(tmp_path_factory.mktemp("tuned"), TUNED)
    user.faults({"method": "exp3", "step": 10, "do": "wait"})
    process = user.start("sweep")
    wait_until(lambda: len(user.results()) >= 1 and len(user.steps()) >= 2, "a trial has ended, and one waits")
    os.killpg(process.pid, signal.SIGINT)
    (user.folder / "faults" / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    user.faults()
    return user, Finished(process.returncode, stdout, stderr), user.run("sweep")


def shown(user: User, cell: str) -> dict[str, object]:
    return dict(json.loads(user.run("show", *cell.split(), "--format", "json").stdout))


def test_it_goes_on_where_it_was_stopped_and_trains_each_trial_once(tuned: tuple[User, Finished, Finished]) -> None:
    user, stopped, done = tuned
    assert stopped.code == 1
    assert "trials have not ended; the same command goes on with them" in stopped.stderr
    assert "that tune it have not ended" in stopped.stderr
    assert done.code == 0, done.stderr
    assert len(user.results()) == FIRST + RESULTS
    assert f"[{FIRST + RESULTS}/{FIRST + RESULTS} done, 0 running, 0 failed" in done.stderr
    tags = "SELECT value, count(DISTINCT run_uuid) FROM tags WHERE key = 'method' GROUP BY 1"
    assert dict(user.database().execute(tags).fetchall()) == {
        "ann": 2,
        "aann": 2,
        "exp3": 2,
        **{f"aann gamma={gamma} tuning": 1 for gamma in ("0.5", "1", "2")},
        **{f"exp3 gamma={gamma} tuning": 1 for gamma in ("0.5", "1")},
    }


def test_show_says_which_points_were_tried_and_why_one_was_taken(tuned: tuple[User, Finished, Finished]) -> None:
    user, _, done = tuned
    (tuning,) = shown(user, "aann seed 1")["tuning"]
    errors = {point["point"]: point["error"] for point in tuning["points"]}
    assert [*errors] == ["gamma=0.5", "gamma=1", "gamma=2"]
    results = user.results()
    for point in tuning["points"]:
        own = results[point["trials"]]
        assert own["config"]["data"]["validation"] == 143
        assert point["error"] == pytest.approx(sum(own["result"]["errors"]) / 3, abs=0.01)
    best = min(errors, key=lambda name: errors[name])
    assert [point["point"] for point in tuning["points"] if point["taken"] == "yes"] == [best]
    config = shown(user, "aann seed 1")["config"]
    assert config["data"]["validation"] == 0
    assert f"gamma={config['regime']['strategy']['gamma']:g}" == best
    said = f"aann: {best} on (1,2) digits, of 3 points that with the lowest average error on 143 held-out images."
    assert tuning["said"] == said
    assert said in done.stdout
    assert shown(user, "exp3 gamma=1 tuning")["config"]["data"]["validation"] == 143


def test_the_same_command_again_runs_nothing(tuned: tuple[User, Finished, Finished]) -> None:
    user, _, done = tuned
    changed = {path: path.stat().st_mtime_ns for path in user.storage.glob("trials/**/*")}
    again = user.run("sweep")
    assert (again.code, again.stdout) == (0, done.stdout)
    assert f"{FIRST + RESULTS} trials: {FIRST + RESULTS} finished" in again.stderr
    assert "had other trials" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in user.storage.glob("trials/**/*")} == changed


def test_a_further_value_runs_alone_and_what_is_chosen_after_it(tuned: tuple[User, Finished, Finished]) -> None:
    user, _, _ = tuned
    user.sweep_file.write_text(TUNED.replace("gamma: [0.5, 1, 2]", "gamma: [0.5, 1, 2, 4]"))
    try:
        rows = json.loads(user.run("plan", "--format", "json").stdout)
        actions = {row["trial"] if "trial" in row else row["method"]: row["action"] for row in rows}
        assert actions["aann gamma=4 tuning"] == "run"
        assert sorted(row["action"] for row in rows) == ["keep"] * 9 + ["run"] + ["wait"] * 2
        done = user.run("sweep")
        assert done.code == 0, done.stderr
        assert "had other trials" not in done.stderr
        (tuning,) = shown(user, "aann seed 1")["tuning"]
        assert len(tuning["points"]) == 4
    finally:
        user.sweep_file.write_text(TUNED)


def test_a_trial_that_fails_holds_up_its_own_method_alone(user: User) -> None:
    user.sweep_file.write_text(TUNED)
    user.faults({"method": "aann", "step": 10, "do": "bug", "times": 1})
    done = user.run("sweep")
    assert done.code == 1
    assert "3 of 11 trials have not ended" in done.stderr
    assert "not chosen yet: 1 of 3 trials that tune it have not ended" in done.stderr
    assert "aann: not chosen yet on (1,2) digits: 1 of 3 trials that tune it have not ended." in done.stdout
    states = {row["method"]: row["state"] for row in json.loads(user.run("status", "--format", "json").stdout)}
    assert [states[f"aann gamma={gamma} tuning"] for gamma in ("0.5", "1", "2")].count("failed") == 1
    assert (states["aann"], states["exp3"], states["ann"]) == ("pending", "finished", "finished")
    user.faults()
    mended = user.run("sweep", "--retry-failed")
    assert mended.code == 1, mended.stderr
    assert "2 of 11 trials have not ended" in mended.stderr
    assert user.run("sweep").code == 0


HALVED = f"""
name: halved
networks: [{{n: 1, c: 2}}]
datasets: [digits]
methods:
  ann: {{}}
  aann: {{strategy: aann, tune: {{grid: {{gamma: [0.25, 0.5, 1, 2, 4]}}, halving: true}}}}
training: {{steps: 120, batch_size: 64, learning_rate: {{0: 0.1, 60: 0.01}}}}
{ONE_FIGURE}
"""
GAMMAS = ("gamma=0.25", "gamma=0.5", "gamma=1", "gamma=2", "gamma=4")
RUNGS = {40: 3, 60: 2}
"""How many points go on at the ends of the epochs that reach 30 and 60 of 120 steps; an epoch has 20."""
HALVED_STEPS = 2 * 40 + 1 * 60 + 2 * 120


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished]:
    """Killed on its way to the second rung, then run to its end."""
    user = User(tmp_path_factory.mktemp("halved"), HALVED)
    user.faults({"method": "aann", "step": 50, "do": "wait"})
    process = user.start("sweep")
    wait_until(lambda: " 40 60 " in user.log(), "a trial is on its way to the second rung", SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    user.faults()
    return user, user.run("sweep")


def points(user: User) -> dict[str, str]:
    """The trials of the tuning, by their points."""
    configs = {path.parent.name: json.loads(path.read_text()) for path in user.storage.glob("trials/*/config.json")}
    return {
        f"gamma={config['regime']['strategy']['gamma']:g}": name
        for name, config in configs.items()
        if config["data"]["validation"]
    }


def undisturbed_curves() -> dict[str, dict[int, tuple[float, ...]]]:
    """The errors of each point at each step, by the trainer alone."""
    curves = {}
    for gamma in GAMMAS:
        regime = Joint(strategy=Aann(gamma=float(gamma.partition("=")[2])))
        data = DataConfig(name="digits", pad=1, validation=143)
        config = digits_trial(regime, c=2, steps=120, batch_size=64, rates={0: 0.1, 60: 0.01})
        epochs: list[EpochMetrics] = []
        train(replace(config, data=data), epochs.append, device="cpu", threads=1)
        curves[gamma] = {epoch.step: epoch.test_error for epoch in epochs}
    return curves


def test_halving_that_was_killed_chooses_as_a_brute_force_and_to_the_same_bits(halved: tuple[User, Finished]) -> None:
    user, done = halved
    assert done.code == 0, done.stderr
    curves, left, stopped = undisturbed_curves(), list(GAMMAS), dict[str, int]()
    for step, keeps in RUNGS.items():
        ranked = sorted(left, key=lambda gamma: sum(curves[gamma][step]))
        stopped |= dict.fromkeys(ranked[keeps:], step)
        left = [gamma for gamma in left if gamma in ranked[:keeps]]
    best = min(left, key=lambda gamma: sum(curves[gamma][120]))
    (tuning,) = shown(user, "aann")["tuning"]
    taken = {point["point"]: point["taken"] for point in tuning["points"]}
    assert taken == {best: "yes"} | {gamma: None for gamma in left if gamma != best} | {
        gamma: f"stopped at step {step} of 120" for gamma, step in stopped.items()
    }
    results, own = user.results(), points(user)
    assert {gamma: tuple(results[own[gamma]]["result"]["errors"]) for gamma in left} == {
        gamma: curves[gamma][120] for gamma in left
    }
    assert len(results) == 2 + 2, "two points, the method and the baseline"
    said = f"aann: {best} on (1,2) digits, of 5 points, halved at steps 30 and 60 of 120, that with the lowest average"
    assert said in done.stdout


def test_halving_trains_nothing_twice(halved: tuple[User, Finished]) -> None:
    """But for the epochs that the kill cut off."""
    user, _ = halved
    own, begun = points(user).values(), user.epochs()
    steps = sum(epoch.last - epoch.first for name in own for epoch in begun[name])
    cut_off = sum([epoch.first for epoch in begun[name]].count(40) == 2 for name in own)
    assert cut_off in (1, 2), "there are two CPUs"
    assert steps == HALVED_STEPS + 20 * cut_off


def test_what_was_halved_is_trained_no_more_where_a_bundle_of_it_is_brought(
    halved: tuple[User, Finished], tmp_path: Path
) -> None:
    user, _ = halved
    bundled = user.run("bundle", "--output", str(tmp_path / "halved.zip"))
    assert (bundled.code, bundled.stderr) == (0, "")
    assert "4 of 7 trials have ended and are in it, 0 with their networks; 3 trials of its halving" in bundled.stdout
    other = Ledger(tmp_path / "other")
    storage = source_at(tmp_path / "halved.zip", other)
    assert {each.fate for each in bring(storage, other, ids_in(storage))} == {Fate.COPIED, Fate.PAUSED}
    before = {path: path.stat().st_mtime_ns for path in other.local.glob("trials/**/*")}
    again = user.run("sweep", "--storage", str(other.storage))
    assert again.code == 0, again.stderr
    assert "7 trials: 4 finished, 3 stopped early" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in other.local.glob("trials/**/*")} == before
    there = json.loads(user.run("show", "aann", "--format", "json", "--storage", str(other.storage)).stdout)
    assert there["tuning"] == shown(user, "aann")["tuning"]


def test_a_point_that_was_stopped_is_paused_and_goes_on_where_the_file_asks_for_it(
    halved: tuple[User, Finished],
) -> None:
    user, _ = halved
    states = [row["state"] for row in json.loads(user.run("status", "--format", "json").stdout)]
    assert sorted(states) == ["finished"] * 4 + ["stopped"] * 3
    plan = json.loads(user.run("plan", "--format", "json").stdout)
    assert sorted(row["action"] for row in plan) == ["keep"] * 4 + ["stop"] * 3
    assert "stopped at step 40 of 120: 3 points did better" in {row["reason"] for row in plan}
    user.sweep_file.write_text(HALVED.replace(", halving: true", ""))
    try:
        plan = json.loads(user.run("plan", "--format", "json").stdout)
    finally:
        user.sweep_file.write_text(HALVED)
    assert sorted(row["action"] for row in plan) == ["keep"] * 3 + ["resume"] * 3 + ["wait"]
