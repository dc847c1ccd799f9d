"""One of each kind is added as CONTRIBUTING says, and every command runs over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cluster_user import ORCHESTRATE, SECONDS, User

pytestmark = pytest.mark.cluster

ADDITIONS = Path(__file__).with_name("additions")
SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [stripes]
weights: rising
methods:
  ann: {}
  last: {strategy: {name: last, gamma: 0.25}}
  opt: {regime: opt, at: [1]}
training: {steps: 8, batch_size: 32, learning_rate: {0: 0.05}}
resources: {cpus: 1, gpus: 0}
report: {tables: [counts, wins], figures: [flat-line], p_value: coin}
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """With a sweep of the additions that has run, and an image."""
    user = User(tmp_path_factory.mktemp("registries"), SWEEP)
    user.environment |= {"PYTHONPATH": os.pathsep.join([str(ADDITIONS), os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    (user.storage / "data").mkdir(parents=True)
    (user.storage / "data" / "stripes.bin").write_bytes(bytes(number % 3 for number in range(160)))
    np.save(user.folder / "image.npy", np.full((1, 8, 8), 200, np.uint8))
    done = user.run("sweep")
    assert done.code == 0, done.stderr
    assert "Lines of errors" in done.stdout
    assert "one-sided p-values by coin" in done.stdout
    return user


COMMANDS = {
    "plan small.yaml": "3 finished",
    "status small.yaml": "3 finished",
    "report small.yaml": "Lines of errors",
    "report small.yaml --format markdown": "Lines of errors",
    "report small.yaml --format latex": "Lines of errors",
    "report small.yaml --format json": '"errors"',
    "report small.yaml --format csv": "stripes",
    "report small.yaml --html all.html --output all": "written",
    "show small.yaml last": "stripes",
    "reproduce small.yaml last": "same bits",
    "predict small.yaml last image.npy": "answer: ",
    "predict small.yaml last image.npy --format json": '"answer"',
    "calibrate small.yaml last --risk 50% --on test": "On average",
    "predict small.yaml last image.npy --risk 50%": "On average",
    "profile small.yaml last --repeats 2": "stripes",
    "profile small.yaml --repeats 2": "stripes",
    "export small.yaml last --output last.zip": "written",
    "data check stripes": "ok",
    "data fetch stripes": "",
    "doctor small.yaml": "stripes",
}
"""And a part of what each prints."""
PROGRAM = """
import json, sys
from click.testing import CliRunner
from orchestrator.cli import cli

done = {}
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    done[command] = [result.exit_code, result.output]
json.dump(done, open("done.json", "w"))
"""


@pytest.fixture(scope="module")
def done(user: User) -> dict[str, tuple[int, str]]:
    """All commands, one after the other in one process: each would import torch anew."""
    environment = user.environment | {"ORCHESTRATE_STORAGE": str(user.storage)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(list(COMMANDS))]
    subprocess.run(command, timeout=SECONDS, cwd=user.folder, env=environment, check=True)
    return json.loads((user.folder / "done.json").read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_over_what_was_added(done: dict[str, tuple[int, str]], command: str) -> None:
    code, output = done[command]
    assert code == 0, output
    assert COMMANDS[command] in output


@pytest.mark.usefixtures("done")
def test_the_page_shows_the_figure_with_its_caption_and_the_tables_by_their_names(user: User) -> None:
    page = (user.folder / "all.html").read_text()
    assert "A flat line" in page
    assert 'id="table-counts"' in page
    assert (user.folder / "all" / "figures" / "flat-line.png").is_file()


def test_the_names_of_classes_are_those_of_the_data_set(done: dict[str, tuple[int, str]]) -> None:
    (answer,) = json.loads(done["predict small.yaml last image.npy --format json"][1])
    assert answer["answer"]["answer"] in ("none", "one", "two")


def test_a_data_set_that_cannot_be_downloaded_says_where_it_is(user: User, tmp_path: Path) -> None:
    command = [ORCHESTRATE, "data", "fetch", "stripes", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=user.environment, check=False)
    assert done.returncode == 2
    assert "https://example.org/stripes" in done.stderr
    assert str(tmp_path / "stripes.bin") in done.stderr


def test_a_name_that_is_in_no_registry_is_refused_with_those_that_are(user: User) -> None:
    text = SWEEP.replace("[counts, wins]", "[nothing]").replace("flat-line", "curved").replace("coin", "dice")
    (user.folder / "wrong.yaml").write_text(text)
    command = [ORCHESTRATE, "plan", "wrong.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=user.folder, env=user.environment, check=False)
    assert done.returncode == 2
    for name in ("counts", "flat-line", "coin"):
        assert name in done.stderr
