"""The page on Python, run as a script from top to bottom; a shell, later calls and a notebook go on with its sweep."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_user import ORCHESTRATE, SECONDS, User

pytestmark = pytest.mark.cluster

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
AFTER = """
import json
from pathlib import Path
from orchestrator.errors import RunError

sweep.save("ramps.yaml")
again = sweep.run(quiet=True)
assert str(again) == str(report), (again, report)

grown = api.Sweep(
    name="grown", networks=[{"n": 1, "c": 4}], datasets=["digits"], methods={"ann": {}}, seeds=[0, 7],
    training={"steps": 44, "batch_size": 64, "learning_rate": {0: 0.1}}, report={"figures": ["cost"]},
)
plan = grown.plan().frame.set_index("seed")
broken = Path("runs/trials", plan.loc[7, "id"], "checkpoints")
broken.parent.mkdir(parents=True)
broken.touch()
try:
    grown.run()
except RunError as error:
    failed = str(error)
print("FOUND", json.dumps({
    "actions": plan["action"].to_dict(),
    "failed": failed,
    "states": grown.status().frame["state"].tolist(),
    "errors": errors.to_dict("list"),
    "attrs": metrics.attrs,
    "answers": [len(answers), float((answers["right"] == (answers["label"] == answers["answer"])).mean())],
    "epochs": sorted(set(curves["epoch"])),
    "answered": prediction.unit,
}))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, subprocess.CompletedProcess[str]]:
    user = User(tmp_path_factory.mktemp("python"))
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (user.folder / "page.py").write_text("\n".join([*blocks, AFTER]))
    command = [sys.executable, "-W", "ignore", "page.py"]
    done = subprocess.run(
        command, cwd=user.folder, env=user.environment, capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return user, done


def test_the_page_runs_from_top_to_bottom(ran) -> None:
    user, done = ran
    found = json.loads(done.stdout.partition("FOUND ")[2])
    results = {name: it["result"] for name, it in user.results().items()}
    for name in set(found["errors"]["trial"]):
        rows = [row for row, trial in enumerate(found["errors"]["trial"]) if trial == name]
        assert [found["errors"]["error"][row] for row in rows] == results[name]["errors"]
    assert len(set(found["errors"]["trial"])) == 12
    assert found["attrs"]["trial"] == found["errors"]["trial"][0]
    assert found["attrs"]["method"] == "ann"
    assert found["answers"] == [6 * 359, 1]
    assert found["epochs"] == [1, 2]
    assert found["answered"] < 6
    assert "[12/12 done, 0 running, 0 failed" in done.stderr


def test_a_shell_goes_on_with_it(ran) -> None:
    user, done = ran
    program = [str(ORCHESTRATE), "report", "ramps.yaml", "--format", "json"]
    said = subprocess.run(program, cwd=user.folder, env=user.environment, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["states"]["finished"] == 12
    for verdict in json.loads(said.stdout)["verdicts"]:
        assert verdict["verdict"] in done.stdout


def test_a_run_that_fails_raises_with_the_reasons_and_what_ended_can_be_read(ran) -> None:
    _, done = ran
    found = json.loads(done.stdout.partition("FOUND ")[2])
    assert found["actions"] == {"0": "keep", "7": "run"}
    assert found["failed"].startswith("1 of 2 trials have not ended; the same command goes on with them\n")
    assert "ann (1,4) digits seed 7" in found["failed"]
    assert found["states"] == ["finished", "failed"]


# In a notebook

RUN = """
import sys
from nbclient.cli import main
main()
"""
CELLS = (
    "sweep.plan()",
    "report",
    "errors.head(2)",
    "sweep.run(rerun='ann (1,4) seed 2')",
    "sweep.note('looks right', 'ann (1,4)', seed=2)\nsweep.notes()",
)


def ran_in_notebook(user: User, cells: list[str]) -> list[list[dict[str, Any]]]:
    """What a kernel of Jupyter puts below each cell."""
    code = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    numbered = [{**code, "id": f"cell-{number}", "source": cell} for number, cell in enumerate(cells)]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": numbered}
    (user.folder / "page.ipynb").write_text(json.dumps(notebook))
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        RUN,
        "page.ipynb",
        "--output",
        "ran",
        "--timeout",
        f"{SECONDS:.0f}",
    ]
    done = subprocess.run(command, cwd=user.folder, env=user.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [cell["outputs"] for cell in json.loads((user.folder / "ran.ipynb").read_text())["cells"]]


def test_a_notebook_shows_progress_in_its_cell_and_tables_as_tables(ran) -> None:
    """With a seed more than the script had: what that has trained is there."""
    user, _ = ran
    blocks = re.findall(r"```python\n(.*?)```", PAGE.replace("seeds=range(2)", "seeds=range(3)"), re.S)
    outputs = ran_in_notebook(user, [*blocks, *CELLS])
    below = dict(zip([*blocks, *CELLS], outputs, strict=True))
    (training,) = (found for cell, found in below.items() if "sweep.run()" in cell)
    shown = [found["data"] for found in training if found["output_type"] == "display_data"]
    (progress,) = (it for it in shown if re.search(r"^\d+/18 done, ", "".join(it["text/plain"]), re.M))  # one, updated
    assert "".join(progress["text/plain"]).startswith("18/18 done, 0 running, 0 failed")
    assert "".join(progress["text/html"]).startswith("<pre")
    for cell in ("sweep.plan()", "report", "errors.head(2)"):
        (result,) = below[cell]
        assert "<table" in "".join(result["data"]["text/html"])
    assert "ann (1,4) digits seed 2 was trained again: same bits" in str(below["sweep.run(rerun='ann (1,4) seed 2')"])
    assert "looks right" in str(below[CELLS[4]][-1]["data"]["text/plain"])
    assert not [found for outputs in below.values() for found in outputs if found["output_type"] == "error"]
