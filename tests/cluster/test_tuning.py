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
