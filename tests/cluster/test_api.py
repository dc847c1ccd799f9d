"""The page on Python, run as a script from top to bottom: a sweep begins there, and a shell and later calls go on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

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
