"""What ``docs/extending.md`` shows works: each file passes the check, and the sweep can be read and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytime_core import extend
from orchestrator.extensions import conformance, importing
from orchestrator.extensions.additions import ADDED
from orchestrator.extensions.finding import GROUP, find
from orchestrator.sweepfile import reported, schema, trust
from orchestrator.sweepfile.load import load

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.S))
EXTENSIONS = [name for name in FILES if name.endswith(".py")]
README = (REPOSITORY / "README.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    yield tmp_path
    importing.activate([])
    reported.install()
    schema.rebuild()


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_file_on_the_page_passes_the_check(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what takes seconds, which commands are tested with."""
    monkeypatch.setattr(conformance, "_travels", lambda extension, part: "")
    monkeypatch.setattr(conformance, "_costs", lambda part: "")
    monkeypatch.setattr(conformance, "_exports", lambda part: "")
    for verdict in conformance.check_file(folder / name):
        assert [finding.fault for finding in verdict.findings] == []


def test_there_is_an_example_of_each_kind_and_each_is_in_the_table(folder: Path) -> None:
    importing.activate([find(name, folder) for name in EXTENSIONS])
    others = {"network"}  # has a page of its own
    assert {kind for kind, known in importing.REGISTRIES.items() if known} == {*extend.BASES, *ADDED} - others
    for base in extend.BASES.values():
        assert f"| `{base.__name__}` |" in PAGE


def test_the_sweep_on_the_page_is_that_of_the_readme_and_sound(folder: Path) -> None:
    assert len(load(folder / "my-idea.yaml").trials) == 5 * 4
    for line in FILES["my-idea.yaml"].splitlines():
        if line.startswith(("extensions", "  ramp")):
            assert line in README


def test_the_lists_on_the_page_are_those_of_its_networks(folder: Path) -> None:
    held = {
        (trial.cell.method, trial.cell.network): (weights.values, weights.normalize)
        for trial in load(folder / "lists.yaml").trials
        for weights in [trial.config.regime.weights]
    }
    assert held == {
        ("ann", "(2,8)"): ((1, 1, 1, 1, 1, 3), "none"),
        ("ann", "(3,8)/3"): ((1, 1, 3), "none"),
        ("last", "(2,8)"): ((0, 0, 0, 0, 0, 1), "sum_to_one"),
        ("last", "(3,8)/3"): ((0, 0, 1), "sum_to_one"),
    }


def test_the_reports_on_the_page_may_be_named(folder: Path) -> None:
    (report,) = re.findall(r"as `(\{p_value.*?\})`", PAGE)
    text = FILES["my-idea.yaml"].replace("[ramp.py]", "[ramp.py, my_report.py]")
    (folder / "with.yaml").write_text(re.sub(r"report: .*", f"report: {report}", text))
    sweep = load(folder / "with.yaml")
    assert (sweep.report.p_value, sweep.report.tables, sweep.report.figures) == ("cautious", ["counts"], ["curves"])


def test_the_entry_point_is_of_our_group() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert list(tomllib.loads(block)["project"]["entry-points"]) == [GROUP]


def test_a_change_of_a_number_is_told_and_of_a_comment_is_not(folder: Path) -> None:
    ids = {trial.id for trial in load(folder / "my-idea.yaml").trials}
    path = folder / "ramp.py"
    path.write_text(f"# a comment\n{path.read_text()}")
    assert {trial.id for trial in load(folder / "my-idea.yaml").trials} == ids
    path.write_text(path.read_text().replace("0.01", "0.02"))
    assert len({trial.id for trial in load(folder / "my-idea.yaml").trials} & ids) == 5


@pytest.mark.parametrize("command", re.findall(r"^orchestrate plan .*?yaml", PAGE, re.M))
def test_the_plan_on_the_page_runs(command: str, folder: Path) -> None:
    words = [str(Path(sys.executable).with_name("orchestrate")), *command.split()[1:]]
    done = subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "20 trials" in done.stdout or "20 to run" in done.stdout, done.stdout
