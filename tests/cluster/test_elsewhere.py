"""Sweeps on a Ray cluster and an MLflow server that somebody else runs, and what is said where there is none."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from cluster_user import (
    CHAOS,
    CHAOS_EPOCHS,
    CHAOS_TRIALS,
    LONG,
    SECONDS,
    SERVER_DATABASE,
    TRIALS,
    Finished,
    User,
    assert_browsable,
    assert_same,
    ended_with_block,
    free_port,
    tables_of,
    wait_until,
)
from forked import Program
from late_proxy import late

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load
from orchestrator.tracking.tracker import Tracker

pytestmark = pytest.mark.cluster
BIN = Path(sys.executable).parent
TWO = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
retries: {stalled_after: 4}
"""


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


def search_runs(
    server: str, experiment: str, condition: str = "tags.trial_id != ''", view: str = "ACTIVE_ONLY", token: str = ""
) -> list[dict]:
    search = {"experiment_ids": [experiment], "max_results": 1000, "filter": condition, "run_view_type": view}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/runs/search", json.dumps(search).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response).get("runs", [])


def artifacts(server: str, run: dict) -> set[str]:
    """Their names, as the server lists them."""
    url = f"{server}/api/2.0/mlflow/artifacts/list?run_id={run['info']['run_id']}"
    with urllib.request.urlopen(url, timeout=30) as response:
        return {file["path"] for file in json.load(response)["files"]}


@contextmanager
def mlflow_server(user: User, port: int) -> Iterator[str]:
    database = f"sqlite:///{user.folder / SERVER_DATABASE}"
    command = [str(BIN / "mlflow"), "server", "--backend-store-uri", database, "--port", str(port), "--workers", "1"]
    environment = user.environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        command, cwd=user.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    with ended_with_block(server):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "the MLflow server answers", 120)
        yield f"http://127.0.0.1:{port}"


def test_a_server_that_is_down_harms_no_trial_and_gets_everything_later(
    finished: tuple[User, Finished], user: User
) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    without = user.run("sweep", "--tracking-uri", uri)
    assert without.code == 1
    assert tables_of(without.stdout) == tables_of(finished[1].stdout)
    assert f"MLflow at {uri} cannot be reached: Connection refused; training goes on without it" in without.stderr
    assert f"lacks {TRIALS} trials" in without.stderr
    assert len(user.results()) == TRIALS

    with mlflow_server(user, port):
        delivered = user.run("sweep", "--tracking-uri", uri)
        assert delivered.code == 0, delivered.stderr
        assert delivered.stdout == without.stdout
        runs = search_runs(uri, "1")
        (summary,) = search_runs(uri, "1", "tags.kind = 'summary'")
        logged = artifacts(uri, summary)
        shown = user.run("ui", "--tracking-uri", uri)
    assert set(user.attempts().values()) == {1}
    assert len(runs) == TRIALS
    assert {"report.html", "figures"} <= logged
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    last_epochs = {metric["value"] for run in runs for metric in run["data"]["metrics"] if metric["key"] == "epoch"}
    assert last_epochs == {7}
    assert f"{uri}/#/experiments/1" in shown.stdout


def test_a_server_that_hangs_in_mid_sweep_harms_no_trial_and_gets_everything_after(
    undisturbed: tuple[User, Finished], user: User
) -> None:
    """Stopped with requests under way, which it answers when it goes on and nobody waits for them any more. Where it is
    for long, a trial goes on after that minute, so that the sweep outlasts it, and the same command delivers all."""
    user.sweep_file.write_text(CHAOS)
    if LONG:
        user.faults({"method": "opt", "step": 20, "do": "wait", "times": 1})
    user.environment |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with mlflow_server(user, free_port()) as uri:
        driver = user.start("sweep", "--tracking-uri", uri)
        wait_until(lambda: len(user.results()) >= 4, "some trials have ended")
        (server,) = (own for own in psutil.Process().children() if str(uri).rpartition(":")[2] in own.cmdline())
        with _stopped([server, *server.children(recursive=True)]):
            assert driver.stderr
            said = ""
            while "cannot be reached" not in said:
                line = driver.stderr.readline()
                assert line, said
                said += line
            ended = len(user.results())
            wait_until(lambda: len(user.results()) > ended or ended == CHAOS_TRIALS, "training goes on")
            if LONG:
                time.sleep(60)
        if LONG:
            wait_until(lambda: "reached again" in driver.stderr.readline(), "it is heard that the server is back")
            (user.folder / "faults" / "go").touch()
        stdout, stderr = driver.communicate(timeout=120)
        assert driver.returncode == 0 or not LONG, stderr
        assert "training goes on without it" in said
        assert_same(user, Finished(0, stdout, stderr), *undisturbed)
        again = user.run("sweep", "--tracking-uri", uri)
    assert again.code == 0, again.stderr
    assert set(user.attempts().values()) == {1}
    assert_browsable(user, CHAOS_TRIALS, CHAOS_EPOCHS)


def test_a_run_that_a_slow_server_makes_twice_is_there_once(
    finished: tuple[User, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request to make a run is served when nobody waits for it any more and it has been repeated."""
    user = User(tmp_path / "copy")
    shutil.copytree(finished[0].storage, user.storage, ignore=shutil.ignore_patterns("mlflow", "tracked.json"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sweep, said = load(user.sweep_file), []
    with mlflow_server(user, port := free_port()) as server, late(port, b"POST /api/2.0/mlflow/runs/create") as made:
        uri, proxy = made
        with Tracker(uri, sweep, Ledger(user.storage), said.append) as tracker:
            pass
        runs, deleted = (search_runs(server, "1", view=view) for view in ("ACTIVE_ONLY", "DELETED_ONLY"))
    assert (tracker.outage, tracker.behind) == (None, [])
    assert [words for words in said if "cannot be reached" in words], said
    assert proxy.passed == TRIALS + 1
    assert len(runs) == TRIALS
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    assert len(deleted) == 1
    assert "metrics" not in deleted[0]["data"]


@contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_the_ui_serves_the_runs_on_loopback_until_ctrl_c(finished: tuple[User, Finished]) -> None:
    user, _ = finished
    port = free_port()
    browsing = user.start("ui", "--port", str(port))
    with ended_with_block(browsing):
        assert browsing.stdout
        line = browsing.stdout.readline()
        address = rf"http://127\.0\.0\.1:{port}"
        found = re.fullmatch(rf"small errors: ({address})/\?token=([\w-]+)#/experiments/(\d+)/runs\?.*\n", line)
        assert found, line
        runs = search_runs(found[1], found[3], token=found[2])
        assert len(runs) == TRIALS
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(f"{found[1]}/?token={found[2]}", timeout=30) as page:
            assert b"MLflow" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(found[1], timeout=30)
        taken = user.run("ui", "--port", str(port))
    assert browsing.returncode == 0
    assert taken.code == 2
    assert f"127.0.0.1:{port} cannot be served on" in taken.stderr
    assert not answers(f"http://127.0.0.1:{port}/health")


@contextmanager
def ray_head(user: User, *, gpus: int = 0, client: int | None = None) -> Iterator[str]:
    """A node of two CPUs, and of GPUs that Ray believes in; ``client`` is a port for Ray's clients. Users must give
    ``RAY_AUTH_MODE=disabled``."""
    port, client = free_port(), client or free_port()  # Ray's own 10001 may be that of another test
    environment = user.environment | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    head = subprocess.Popen(
        [
            *(str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *("--num-cpus=2", f"--num-gpus={gpus}", "--include-dashboard=false"),
            f"--ray-client-server-port={client}",
        ],
        cwd=user.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with ended_with_block(head):
        wait_until(lambda: _listens(port) and _listens(client), "Ray's head node listens", 60)
        yield f"127.0.0.1:{port}"


def test_a_sweep_runs_on_a_cluster_that_is_there_already(finished: tuple[User, Finished], user: User) -> None:
    user.environment |= {"RAY_AUTH_MODE": "disabled"}
    client = free_port()
    with ray_head(user, client=client) as address:
        done = user.run("sweep", "--address", f"ray://127.0.0.1:{client}")
        refused = user.run("sweep", "--address", address, "--gpus", "0.5", "--storage", "other")
        plan = user.run("plan", "--address", address, "--storage", "other")
        calibrated = user.run("plan", "--address", address, "--storage", "other", "--calibrate", "3s")
        impossible = user.run("plan", "--address", address, "--gpus", "auto", "--storage", "other")
    assert "makespan on 1 node (2 CPUs): unknown" in plan.stdout
    assert (calibrated.code, "unknown" in calibrated.stdout.partition("GiB of disk")[0]) == (0, False)
    assert " shapes, 2 at once" in calibrated.stdout
    assert impossible.code == 1
    assert "each of 6 trials asks for 1 CPU and a share of a GPU, and no node has that" in impossible.stderr
    assert done.code == 0, done.stderr
    assert tables_of(done.stdout) == tables_of(finished[1].stdout)
    assert refused.code == 1
    assert "asks for 1 CPU and 0.5 GPUs, and no node has that" in refused.stderr
    assert "Traceback" not in refused.stderr


IN_USE = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False)
held = ray.remote(num_cpus=2)(lambda: time.sleep(3600)).remote()
while ray.available_resources().get("CPU", 0):
    time.sleep(0.1)
print("held", flush=True)
time.sleep(3600)
"""


@contextmanager
def all_in_use(user: User, address: str) -> Iterator[None]:
    """By somebody else, until the block ends."""
    command = [sys.executable, "-W", "ignore", "-c", IN_USE, address]
    other = subprocess.Popen(
        command, env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with ended_with_block(other):
        assert other.stdout
        assert any(line == "held\n" for line in other.stdout)
        yield


def test_a_sweep_waits_for_a_place_and_after_a_failure_on_a_gpu_the_next_trial_has_another_process(user: User) -> None:
    user.sweep_file.write_text(TWO)
    user.environment |= {"RAY_AUTH_MODE": "disabled"}
    with ray_head(user, gpus=1) as address:
        with all_in_use(user, address):
            process = user.start("sweep", "--address", address, "--gpus", "1")
            said = iter(process.stderr or ())
            assert any("no trial runs: all that could hold one is in use, or its worker" in line for line in said)
        _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    reason = "its worker is not used again after a failure on its GPU; starts again from its last checkpoint"
    assert stderr.count(reason) == 1
    assert "2 of 2 trials have not ended" in stderr
    assert "2 trials, such as ann (1,2)" in stderr  # for want of a GPU that is there


def test_two_users_on_one_cluster_and_one_server_do_not_disturb_each_other(
    finished: tuple[User, Finished], user: User
) -> None:
    """The same sweep at the same time, in storage of their own."""
    user.environment |= {"RAY_AUTH_MODE": "disabled"}
    other = User(user.folder / "other")
    other.environment |= {"RAY_AUTH_MODE": "disabled"}
    told = user.folder / "told.json"
    with ray_head(user) as address, mlflow_server(user, free_port()) as uri:
        options = ("--address", address, "--tracking-uri", uri)
        first, second = user.start("sweep", *options, "--notify", f"tee {told}"), other.start("sweep", *options)
        said = [(process.communicate(timeout=SECONDS), process.returncode) for process in (first, second)]
        runs = [search_runs(uri, experiment) for experiment in ("1", "2")]
    for (stdout, stderr), code in said:
        assert code == 0, stderr
        assert tables_of(stdout) == tables_of(finished[1].stdout)
    assert [len(found) for found in runs] == [TRIALS, TRIALS]
    assert {run["info"]["status"] for found in runs for run in found} == {"FINISHED"}
    assert set(user.attempts().values()) == set(other.attempts().values()) == {1}
    assert json.loads(told.read_text())["event"] == "finished"


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1: Connection refused"),
        ("here:there", "no Ray cluster at here:there: it holds no host and port"),
    ],
)
def test_where_there_is_no_cluster_one_line_says_so(user: User, address: str, said: str) -> None:
    done = user.run("sweep", "--address", address)
    assert done.code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not user.results()


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """For commands that refuse before they start anything."""
    with Program(dict(os.environ)) as program:
        yield program


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--tracking-uri", "nowhere"], 2, "tracking URI 'nowhere': must begin with one of sqlite://"),
        (["--tracking-uri", "http://me:secret@host:port"], 2, "tracking URI 'http://me:***@host:port': its port is"),
        (["--tracking-uri", "http://"], 2, "tracking URI 'http://': must name a host"),
        (["--tracking-uri", "sqlite://"], 2, "tracking URI 'sqlite://': must name a file"),
        (["--address", "ray://127.0.0.1:1"], 1, "no Ray cluster at ray://127.0.0.1:1: Connection refused"),
        (["--storage", "small.yaml"], 2, "storage small.yaml: is a file, and this command writes to its storage"),
        (["--storage", "/proc/none"], 1, "/proc/none: storage cannot be written"),
        (["--cpus", "4096"], 1, "each of 6 trials asks for 4096 CPUs and 0 GPUs, and no node has that"),
        (["--gpus", "2"], 2, "2.0 is not in the range 0<=x<=1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_starts(
    user: User, program: Program, options: list[str], code: int, said: str
) -> None:
    done = user.run_in(program, "sweep", *options)
    assert done.code == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_data_is_told_at_once_for_all_data_sets(tmp_path: Path, program: Program) -> None:
    user = User(
        tmp_path,
        "name: small\nnetworks: [{n: 1, c: 4}]\ndatasets: [cifar10, svhn, digits]\nmethods: {ann: {}}\n",
    )
    done = user.run_in(program, "sweep", "--data-root", "nowhere")
    assert done.code == 2
    assert "cifar10: not found: nowhere/cifar-10-batches-py/data_batch_1" in done.stderr
    assert "svhn: not found: nowhere/train_32x32.mat" in done.stderr
    assert "orchestrate data fetch svhn --root nowhere" in done.stderr
    assert not user.results()


def test_no_password_is_shown_and_what_cannot_be_opened_is_told_at_once(finished: tuple[User, Finished]) -> None:
    """On a sweep that is done, so that there is nothing but the delivery to do."""
    user, _ = finished
    secret = user.run("sweep", "--tracking-uri", "http://me:secret@127.0.0.1:1")
    assert secret.code == 1
    assert "http://me:***@127.0.0.1:1" in secret.stdout
    assert "secret" not in secret.stdout + secret.stderr
    folder = user.run("sweep", "--tracking-uri", f"sqlite:///{user.folder}")
    assert folder.code == 1
    assert re.search(rf"lacks {TRIALS} trials: .*: is a folder", folder.stderr), folder.stderr
