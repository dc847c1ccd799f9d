"""Results, data sets and MLflow are where the user says, or below the storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


@pytest.mark.parametrize("place", ["default", "option", "variable", "both"])
def test_storage_is_a_default_an_option_or_a_variable(orchestrate, tmp_path, one_finished, place) -> None:
    storage = tmp_path / ("runs" if place == "default" else "elsewhere")
    one_finished(storage)
    options = ["--storage", str(storage)] if place in ("option", "both") else []
    variables = {"variable": str(storage), "both": str(tmp_path / "wrong")}
    given = {"ORCHESTRATE_STORAGE": variables[place]} if place in variables else {}
    report = json.loads(orchestrate("report", QUICKSTART, "--format", "json", *options, **given).out)
    assert report["states"]["finished"] == 1


@pytest.mark.parametrize("storage", ["gs://bucket/runs", "s3://me:secret@bucket/runs", "s3://", "s3://bucket?hue=red"])
def test_storage_that_cannot_be_is_refused_without_its_secrets(orchestrate, storage) -> None:
    for done in (
        orchestrate("status", QUICKSTART, "--storage", storage),
        orchestrate("plan", QUICKSTART, ORCHESTRATE_STORAGE=storage),
    ):
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: storage '")
        assert done.err.count("\n") == 1
        assert "secret" not in done.err


def test_a_store_that_does_not_answer_is_told_in_a_line(orchestrate, tmp_path) -> None:
    address = "s3://bucket/runs?endpoint_override=http://127.0.0.1:9&region=us-east-1"
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = orchestrate("status", QUICKSTART, "--storage", address, **keys)
    assert (done.code, done.out) == (1, "")
    *waiting, last = done.err.splitlines()  # a slow machine may be told first that there is no answer yet
    assert last.startswith("error: s3://bucket/runs/trials: cannot be read: AWS Error NETWORK_CONNECTION")
    assert all(line.startswith("warning: s3://bucket/runs/trials: no answer for") for line in waiting)


def test_what_must_be_files_is_in_the_users_cache_where_the_storage_is_a_bucket(orchestrate, tmp_path) -> None:
    place = {"ORCHESTRATE_STORAGE": "s3://bucket/runs", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    browsing = orchestrate("ui", QUICKSTART, **place)
    assert browsing.code == 1
    assert f"error: {tmp_path / 'cache' / 'anytime_orchestrator' / 'bucket-'}" in browsing.err
    assert "mlflow/mlflow.db: no runs yet" in browsing.err
    checked = orchestrate("data", "check", "svhn", **place)
    assert f"svhn below {tmp_path / 'cache' / 'anytime_orchestrator' / 'bucket-'}" in checked.out


@pytest.fixture
def home(tmp_path, environment) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    environment["HOME"] = str(folder)
    return folder


def test_a_tilde_is_the_home_folder_in_every_option_variable_and_word(
    orchestrate, tmp_path, home, one_finished
) -> None:
    """The shell expands it only where a word begins with it."""
    one_finished(home / "runs")
    (home / "quick.yaml").write_text(Path(QUICKSTART).read_text())
    assert "27 pending, 1 finished" in orchestrate("status", "~/quick.yaml", ORCHESTRATE_STORAGE="~/runs").out
    runs = "--storage=~/runs"
    assert orchestrate("report", "~/quick.yaml", runs, "--output=~/out", "--html=~/page.html").code == 0
    assert (home / "out" / "report.html").read_bytes() == (home / "page.html").read_bytes()
    assert f"below {home}/data\n" in orchestrate("data", "check", "svhn", "--root=~/data").out
    assert f"below {home}/data\n" in orchestrate("data", "check", "svhn", ORCHESTRATE_DATA_ROOT="~/data").out
    assert f"below {home}/runs/data\n" in orchestrate("data", "check", "svhn", ORCHESTRATE_STORAGE="~/runs").out
    assert f"error: {home}/runs.yaml: cannot be read" in orchestrate("profile", "~/runs.yaml", runs).err
    assert (
        f"error: {home}/m.db: no runs yet" in orchestrate("ui", QUICKSTART, runs, "--tracking-uri=sqlite:///~/m.db").err
    )
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_home_folder_that_nobody_has_is_an_error(orchestrate) -> None:
    done = orchestrate("status", QUICKSTART, "--storage=~nobody-of-that-name/runs")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: ~nobody-of-that-name/runs: there is no home folder ~nobody-of-that-name; "
        "for one of that very name give ./~nobody-of-that-name/runs\n"
    )
