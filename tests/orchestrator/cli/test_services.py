"""MLflow's UI is served on the runs of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import TrackingError
from orchestrator.tracking import store, ui

QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:hunter2@127.0.0.1:1", "http://me:***@127.0.0.1:1"),
        ("http://me:hun@ter2@127.0.0.1:1", "http://me:***@127.0.0.1:1"),
        ("mysql://127.0.0.1:1/db?user=me&password=hunter2", "mysql://127.0.0.1:1/db?user=me&password=***"),
    ],
)
def test_a_password_is_not_shown(orchestrate, uri, shown) -> None:
    done = orchestrate("ui", QUICKSTART, "--tracking-uri", uri)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: MLflow at {shown} cannot be reached: ")
    assert "ter2" not in done.err


def test_links_to_a_server_hold_no_password(monkeypatch, tmp_path) -> None:
    said: list[str] = []
    monkeypatch.setattr(store, "pages", lambda *_: {"errors": "#/experiments/1/runs"})
    ui.serve("small", tmp_path, "https://me:hun@ter2@host:5000/mlflow/", "127.0.0.1", 5000, said.append)
    assert said == ["small errors: https://host:5000/mlflow/#/experiments/1/runs"]


def test_a_package_that_mlflow_knows_from_before_is_to_be_installed_again(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(store, "pages", lambda *_: {})
    monkeypatch.setattr(ui, "entry_points", lambda **_: ())
    with pytest.raises(TrackingError, match="install the package again"):
        ui.serve("small", tmp_path, "sqlite:////x/mlflow.db", "127.0.0.1", 5000, print)
