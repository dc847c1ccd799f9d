"""MLflow's UI is served on the runs of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

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
