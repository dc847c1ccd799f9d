"""One command tries the points of a grid on held-out images, and trains the best; after anything it goes on."""

from __future__ import annotations

import json
import os
import signal

import pytest
from cluster_user import ONE_FIGURE, Finished, User, wait_until

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
HALVED_STEPS = 2 * 40 + 1 * 60 + 2 * 120
"""Two points stop at the end of the epoch that reaches 30 steps, one at 60; an epoch has 20."""


def choice(user: User) -> dict[str, object]:
    (tuning,) = shown(user, "aann")["tuning"]
    return dict(tuning)


def trained(user: User) -> dict[str, tuple[object, ...]]:
    """Bits of each trial that ended: its errors, and its network."""
    return {
        name: (*result["result"]["errors"], result["provenance"]["network_hash"])
        for name, result in user.results().items()
    }


def points(user: User) -> dict[str, str]:
    """The trials of the tuning: the gamma of each, by id."""
    found = {}
    for path in user.storage.glob("trials/*/config.json"):
        config = json.loads(path.read_text())
        if config["data"]["validation"]:
            found[path.parent.name] = f"gamma={config['regime']['strategy']['gamma']:g}"
    return found


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, User, Finished]:
    """Run to its end; and killed on its way to the second rung, then run to its end. What the latter says."""
    whole, killed = (User(tmp_path_factory.mktemp(name), HALVED) for name in ("whole", "killed"))
    whole.faults()
    done = whole.run("sweep")
    assert done.code == 0, done.stderr
    killed.faults({"method": "aann", "step": 50, "do": "wait"})
    process = killed.start("sweep")
    wait_until(lambda: "40 60" in killed.log(), "a trial is on its way to the second rung")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    killed.faults()
    done = killed.run("sweep")
    assert done.code == 0, done.stderr
    return whole, killed, done


def steps(user: User) -> int:
    """Of all epochs of the tuning that were begun."""
    own = points(user)
    return sum(epoch.last - epoch.first for name, found in user.epochs().items() if name in own for epoch in found)


def test_halved_points_train_as_many_steps_as_the_closed_form_says(halved: tuple[User, User, Finished]) -> None:
    whole, killed, _ = halved
    assert steps(whole) == HALVED_STEPS
    ends = {name: found[-1].last for name, found in whole.epochs().items() if name in points(whole)}
    assert sorted(ends.values()) == [40, 40, 60, 120, 120]
    assert {user.attempts()[name] for user in (whole,) for name in ends if ends[name] == 40} == {1}
    again = [name for name, found in killed.epochs().items() if [epoch.first for epoch in found].count(40) > 1]
    assert steps(killed) == HALVED_STEPS + 20 * len(again), "more than the epochs that were cut off was done again"
    assert len(again) <= 2, "on two CPUs"


def test_a_kill_changes_no_choice_and_no_bit(halved: tuple[User, User, Finished]) -> None:
    whole, killed, done = halved
    assert choice(killed) == choice(whole)
    assert trained(killed) == trained(whole)
    assert len(trained(whole)) == 2 + 2, "two points, the method and the baseline"
    assert "of 5 points, halved at steps 30 and 60 of 120, that with the lowest average error" in done.stdout


def test_a_stopped_point_is_paused_and_show_says_where(halved: tuple[User, User, Finished]) -> None:
    _, killed, _ = halved
    rows = {point["point"]: point for point in choice(killed)["points"]}
    states = [row["state"] for row in json.loads(killed.run("status", "--format", "json").stdout)]
    assert sorted(states) == ["finished"] * 4 + ["paused"] * 3
    taken = [point["taken"] for point in rows.values()]
    assert sorted(map(str, taken)) == ["None", *["stopped at step 40 of 120"] * 2, "stopped at step 60 of 120", "yes"]
    (lost, *_) = [name for name, point in rows.items() if point["taken"] == "stopped at step 40 of 120"]
    said = killed.run("show", "aann", lost, "tuning").stdout
    assert "stopped at step 40 of 120: 3 points did better" in said
    plan = json.loads(killed.run("plan", "--format", "json").stdout)
    assert sorted(row["action"] for row in plan) == ["keep"] * 4 + ["stop"] * 3
    again = killed.run("sweep")
    assert (again.code, "7 trials: 4 finished, 3 stopped early" in again.stderr) == (0, True)


def test_without_halving_the_stopped_points_go_on_and_the_others_are_kept(halved: tuple[User, User, Finished]) -> None:
    _, killed, _ = halved
    killed.sweep_file.write_text(HALVED.replace(", halving: true", ""))
    try:
        plan = json.loads(killed.run("plan", "--format", "json").stdout)
        assert sorted(row["action"] for row in plan) == ["keep"] * 3 + ["resume"] * 3 + ["wait"]
    finally:
        killed.sweep_file.write_text(HALVED)
