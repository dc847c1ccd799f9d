"""One command from a YAML file to tables; the same command again is the way on after anything."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from cluster_user import (
    EPOCHS,
    OF_TRIALS,
    STEPS_PER_EPOCH,
    SWEEP,
    TRIALS,
    Finished,
    User,
    assert_browsable,
    assert_same,
    tables_of,
    wait_until,
)

from anytime_core.data.cache import load
from anytime_core.trained import load_network

pytestmark = pytest.mark.cluster


def test_a_sweep_prints_its_tables_and_how_to_browse(finished: tuple[User, Finished]) -> None:
    user, done = finished
    assert done.code == 0, done.stderr
    for words in ("ann", "aann", "opt", "(1,4)", "(2,4)", "1/4", "AE", "Wins over ann", "p-values"):
        assert words in done.stdout
    assert f"orchestrate ui {user.sweep_file} --storage {user.storage}" in done.stdout
    assert f"[{TRIALS}/{TRIALS} done, 0 running, 0 failed" in done.stderr
    assert "left]" in done.stderr


def test_the_ledger_holds_each_trial_with_where_it_came_from(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    results = user.results()
    assert len(results) == TRIALS
    for result in results.values():
        assert result["result"]["state"] == "finished"
        assert result["attempts"] == 1
        assert {"code_version", "data_hash", "host", "threads", "torch"} <= result["provenance"].keys()
    metrics = user.metrics()
    assert metrics.groupby("trial_id")["epoch"].nunique().tolist() == [EPOCHS] * TRIALS
    last = metrics[metrics["epoch"] == EPOCHS]
    for trial_id, errors in last.groupby("trial_id")["test_error"]:
        assert errors.tolist() == results[str(trial_id)]["result"]["errors"]


def test_a_trained_network_can_be_loaded(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    digits = load("digits", None)
    images, labels = torch.tensor(digits.test_images), torch.tensor(digits.test_labels)
    for trial_id, result in user.results().items():
        network = load_network(user.storage / "trials" / trial_id)
        wrong = network(images).argmax(2) != labels
        assert (100 * wrong.double().mean(1)).tolist() == pytest.approx(result["result"]["errors"])


def test_mlflow_shows_each_trial_once(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    assert_browsable(user)
    database = user.database()
    params = dict(database.execute("SELECT key, count(DISTINCT run_uuid) FROM params GROUP BY 1").fetchall())
    assert params["network.n"] == params["data.name"] == params["training.steps"] == TRIALS
    assert params["regime.strategy.name"] == TRIALS - 2  # OPT has none
    tags = dict(database.execute("SELECT key, count(DISTINCT run_uuid) FROM tags GROUP BY 1").fetchall())
    assert tags["trial_id"] == tags["cell"] == tags["method"] == tags["state"] == tags["code_version"] == TRIALS
    names = {name for (name,) in database.execute(f"SELECT name {OF_TRIALS}")}
    assert "aann (2,4) digits s0" in names


def test_tables_and_figures_are_in_the_sweeps_folder_and_in_a_summary_run(finished: tuple[User, Finished]) -> None:
    user, done = finished
    assert user.run("sweep").code == 0  # what another test told another server is told to this database again
    folder = user.storage / "sweeps" / "small" / "report"
    assert f"The whole report: {folder / 'report.html'}" in done.stdout
    assert (folder / "report.txt").read_text().strip() == tables_of(done.stdout).strip()
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"report.html", "report.md", "report.tex", "errors.csv", "figures/cost.svg", "figures/cost.png"} <= names
    database = user.database()
    (run,) = database.execute("SELECT run_uuid, status FROM runs WHERE name = 'summary'").fetchall()
    assert run[1] == "FINISHED"
    logged = user.storage / "mlflow" / "artifacts" / "small" / run[0] / "artifacts"
    assert {str(path.relative_to(logged)) for path in logged.rglob("*") if path.is_file()} == names
    wins = json.loads((folder / "report.json").read_text())["wins"]
    kept = dict(database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run[0],)).fetchall())
    assert kept["wins/aann/at_0.25"] == next(row["win_percent"] for row in wins if row["metric"] == "1/4")
    assert kept["trials/finished"] == TRIALS
    trial_runs = {row[0] for row in database.execute(f"SELECT run_uuid {OF_TRIALS}")}
    assert set(re.findall(r"/runs/([0-9a-f]{32})", (folder / "report.html").read_text())) == trial_runs


def test_nothing_is_left_in_the_working_folder(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    assert {path.name for path in user.folder.iterdir()} <= {"runs", "small.yaml", "cache", ".config"}
    assert {path.name for path in user.storage.iterdir()} == {"id", "mlflow", "sweeps", "trials"}


def test_the_same_command_again_runs_nothing_and_prints_the_same(finished: tuple[User, Finished]) -> None:
    user, done = finished
    changed = {path: path.stat().st_mtime_ns for path in user.storage.glob("trials/**/*")}
    again = user.run("sweep")
    assert (again.code, again.stdout) == (0, done.stdout)
    assert f"{TRIALS} finished" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in user.storage.glob("trials/**/*")} == changed
    assert tables_of(done.stdout).strip() == user.run("report").stdout.strip()


def test_a_limit_stops_a_sweep_and_the_next_command_goes_on(finished: tuple[User, Finished], tmp_path: Path) -> None:
    user, undisturbed = finished
    limited = User(tmp_path)
    stopped = limited.run("sweep", "--at-most", "0.0001 cpu-hours")
    assert stopped.code == 1
    assert f"--at-most 0.0001 cpu-hours left {TRIALS - len(limited.results())} trials" in stopped.stderr
    assert "this command used" in stopped.stderr
    assert len(limited.results()) < TRIALS
    assert_same(limited, limited.run("sweep"), user, undisturbed)


def test_a_growing_grid_runs_just_what_is_new(finished: tuple[User, Finished], tmp_path: Path) -> None:
    user, _ = finished
    grown = User(
        tmp_path, SWEEP.replace("methods:", "methods:\n  sieve: {weights: sieve}\n  even: {weights: constant}")
    )
    plan = json.loads(grown.run("plan", "--format", "json", "--storage", str(user.storage)).stdout)
    assert [entry["action"] for entry in plan if entry["method"] == "even"] == ["run", "run"]
    # `sieve` is another name for what `ann` is: the same trials, which need not run again.
    assert len(plan) == TRIALS + 2
    assert sorted(entry["action"] for entry in plan) == ["keep"] * TRIALS + ["run"] * 2


def test_a_worker_that_is_killed_costs_one_checkpoint_interval(finished: tuple[User, Finished], user: User) -> None:
    process = user.start("sweep")
    wait_until(lambda: len(user.steps()) >= 1, "a trial has a checkpoint")
    worker = next(
        child for child in psutil.Process(process.pid).children(recursive=True) if "ImplicitFunc" in _title(child)
    )
    worker.kill()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "its process died; starts again from its last checkpoint" in stderr
    assert tables_of(stdout) == tables_of(finished[1].stdout)
    assert 2 in user.attempts().values()
    assert_browsable(user)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def test_ctrl_c_stops_and_says_how_to_go_on(user: User) -> None:
    user.faults({"method": "aann", "n": 2, "step": 30, "do": "wait"})
    process = user.start("sweep")
    wait_until(lambda: len(user.results()) >= 1 and len(user.steps()) >= 2, "a trial has ended, and one waits")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = iter(process.stderr or ())
    assert any("stopping: running trials save their state (ctrl-C again stops at once)" in line for line in said)
    (user.folder / "faults" / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "; its state is saved" in stderr
    assert "trials have not ended; the same command goes on with them" in stderr
    assert f"orchestrate sweep {user.sweep_file} --storage {user.storage}\n" in stderr
    assert user.processes() == []
    assert "Traceback" not in stderr
    assert "Not in the tables" in stdout
    states = {row["state"] for row in json.loads(user.run("status", "--format", "json").stdout)}
    assert "running" not in states
    assert {"finished"} < states
    statuses = dict(user.database().execute(f"SELECT status, count(*) {OF_TRIALS} GROUP BY 1").fetchall())
    assert "RUNNING" not in statuses


def test_a_sweep_goes_on_when_nobody_reads_what_it_says_and_ctrl_c_still_stops_it(user: User) -> None:
    """As in a pipe to `tee`, which ends at ctrl-C."""
    user.faults({"method": "aann", "n": 2, "step": 30, "do": "wait"})
    process = user.start("sweep")
    assert process.stderr
    process.stderr.readline()
    process.stderr.close()
    wait_until(lambda: len(user.results()) >= 2 and len(user.steps()) >= 3, "trials have ended, and one waits")
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(2)  # until all are told
    (user.folder / "faults" / "go").touch()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Not in the tables" in stdout
    wait_until(lambda: not user.processes(), "nothing is left", 10)


def test_another_shell_sees_what_runs_and_cannot_run_it_too_and_sigterm_to_all_stops_it(user: User) -> None:
    """SIGTERM goes to the whole group, as a batch system sends it, and twice, as `timeout` does."""
    slow = {"method": "aann", "n": 2}
    user.faults({**slow, "step": 29, "do": "rest"}, {**slow, "step": 30, "do": "wait"})
    process = user.start("sweep")
    try:
        wait_until(lambda: len(user.steps()) >= 1, "a trial has a checkpoint")
        wait_until(lambda: ", step 30/154\n" in user.run("status").stdout, "a step within an epoch is told")
        shown = user.run("status")
        rows = json.loads(user.run("status", "--format", "json").stdout)
        second = user.run("sweep")
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stderr
        assert any("stopping: " in line for line in process.stderr)
        (user.folder / "faults" / "go").touch()
        _, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert "trials have not ended; the same command goes on with them" in stderr
    assert "; its state is saved" in stderr
    assert "head node" not in stderr
    assert f"orchestrate sweep {user.sweep_file} --storage {user.storage}\n" in stderr
    assert "Traceback" not in stderr
    statuses = dict(user.database().execute(f"SELECT status, count(*) {OF_TRIALS} GROUP BY 1").fetchall())
    assert "RUNNING" not in statuses
    wait_until(lambda: not user.processes(), "nothing is left", 10)
    assert f"run by process {process.pid}" in shown.stdout
    assert re.search(r"^ \S+ 1 CPU: .* seed 0, step \d+/154$", shown.stdout, re.M)
    assert re.search(r"its driver spoke \d+ s ago", shown.stdout)
    assert any(row["state"] == "running" and row["step"] == 30 for row in rows)
    assert second.code == 1
    assert f"small is already being run by process {process.pid}" in second.stderr
    assert "no driver runs it" in user.run("status").stdout


def test_a_trial_that_fails_is_named_and_tried_again(user: User) -> None:
    """Its checkpoint folder is a file at first."""
    plan = json.loads(user.run("plan", "--format", "json").stdout)
    broken = plan[0]["id"]
    checkpoints = user.storage / "trials" / broken / "checkpoints"
    checkpoints.parent.mkdir(parents=True)
    checkpoints.touch()
    done = user.run("sweep")
    assert done.code == 1
    assert "1 of 6 trials have not ended" in done.stderr
    assert broken in done.stderr
    assert f"failed (bug) at step 0 of {EPOCHS * STEPS_PER_EPOCH}: " in done.stderr
    assert "Not in the tables: 1 failed of 6 trials" in done.stdout
    checkpoints.unlink()
    mended = user.run("sweep")
    assert mended.code == 0, mended.stderr
    assert user.attempts()[broken] == 2
    assert_browsable(user)


def test_a_trial_that_is_trained_again_keeps_its_result_through_a_kill_and_a_cleaning(
    finished: tuple[User, Finished], user: User
) -> None:
    """The file has lost a method meanwhile, whose trials the command that runs still needs."""
    assert user.run("sweep").code == 0
    cell = ("--rerun", "aann (2,4)")
    trial_id = json.loads(user.run("show", "aann", "(2,4)", "--format", "json").stdout)["trial"]["id"]
    before = (user.storage / "trials" / trial_id / "result.json").read_bytes()
    user.faults({"method": "aann", "n": 2, "step": 60, "do": "wait"})
    process = user.start("sweep", *cell)
    wait_until(lambda: any(user.storage.glob(f"reruns/trials/{trial_id}/checkpoints/*.ckpt")), "it has a checkpoint")
    text = user.sweep_file.read_text()
    user.sweep_file.write_text(text.replace("  aann: {strategy: aann}\n", ""))
    cleaned = json.loads(user.run("gc", "--delete", "--format", "json").stdout)
    assert [row for row in cleaned if row["kind"] != "ray"] == []
    user.sweep_file.write_text(text)
    process.kill()
    process.communicate()
    assert (user.storage / "trials" / trial_id / "result.json").read_bytes() == before
    assert "6 finished" in user.run("status").stdout
    user.faults()
    done = user.run("sweep", *cell)
    assert "aann (2,4) digits seed 0 was trained again: same bits\n" in done.stderr
    assert "goes on from step" not in done.stdout
    assert user.results()[trial_id]["attempts"] == 2, "it went on where it was killed"
    assert not list(user.storage.glob("reruns/trials/*"))
    assert_browsable_again(user, trial_id)
    assert_same(user, done, *finished)


def assert_browsable_again(user: User, trial_id: str) -> None:
    """MLflow lists one run of the trial, of its last training."""
    runs = user.database().execute(
        "SELECT lifecycle_stage, count(*) FROM runs JOIN tags USING (run_uuid) "
        "WHERE key = 'trial_id' AND tags.value = ? GROUP BY 1 ORDER BY 1",
        (trial_id,),
    )
    assert runs.fetchall() == [("active", 1), ("deleted", 1)]


ENDS_WITH_GARBAGE = """
import gc, threading, time
from anytime_core.files import LocalFolder
from orchestrator.system.environment import prepare_ray

prepare_ray(own_cluster=True)
import ray
from orchestrator.cluster.session import cluster


def litter():
    while references:
        cycle = [references.pop()]
        cycle.append(cycle)  # which the collector alone frees
        del cycle
        time.sleep(0.002)


with cluster(None, LocalFolder(".")):
    references = [ray.put(number) for number in range(3000)]
    gc.set_threshold(1)
    threading.Thread(target=litter, daemon=True).start()
print("the tables")
"""


def test_garbage_of_another_thread_does_not_end_the_command_while_ray_shuts_down(user: User) -> None:
    """As MLflow's thread makes it: Ray ends a process that frees a reference then."""
    command = [sys.executable, "-W", "ignore", "-c", ENDS_WITH_GARBAGE]
    done = subprocess.run(command, cwd=user.folder, env=user.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "the tables\n"), done.stderr
