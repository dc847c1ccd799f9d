"""The documentation names every command, and what it shows works."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from anytime_core.config import TrainingConfig
from anytime_core.training.trainer import train
from orchestrator.cli import cli
from orchestrator.extensions import conformance, importing
from orchestrator.sweepfile.load import load

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in (REPOSITORY / "docs").glob("*.md")}
DOCS = "\n".join([README, *PAGES.values()])
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS, re.S)
MOST_WORDS = 1000
SHELL = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [line.partition("#")[0].strip() for line in SHELL if line.startswith("orchestrate ")]


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found += leaves(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("command", leaves(cli), ids=" ".join)
def test_every_command_is_in_the_list_of_commands(command: tuple[str, ...]) -> None:
    listed = [line for block in re.findall(r"```sh\n(.*?)```", PAGES["commands"], re.S) for line in block.splitlines()]
    assert any(line.startswith(" ".join(("orchestrate", *command))) for line in listed)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_documentation_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, command, context = shlex.split(line)[1:], cli, click.Context(cli)
    monkeypatch.chdir(tmp_path)
    for name in words:
        if re.fullmatch(r"\w[\w/]*(\.yaml)?", name) and ("/" in name or "." in name):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    command.make_context(name, list(words), parent=context)  # raises where an option or an argument is not one


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\bsweeps/\w+\.yaml", DOCS))))
def test_every_sweep_in_the_documentation_is_there(path: str) -> None:
    assert load(REPOSITORY / path).trials


def test_the_sweep_in_the_readme_is_sound(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(name: .*?)```", README, re.S)
    path = tmp_path / "mine.yaml"
    path.write_text(block)
    assert len(load(path).trials) == 2 * 3 * (2 + 4)


@pytest.mark.parametrize(("name", "trials"), [("sweep-file", 2 * 3 * (6 + 4)), ("deciding", 2 * 3 * 3)])
def test_the_sweep_on_a_page_is_sound(tmp_path: Path, name: str, trials: int) -> None:
    (block,) = re.findall(r"```yaml\n(name: .*?)```", PAGES[name], re.S)
    path = tmp_path / "mine.yaml"
    path.write_text(block)
    assert len(load(path).trials) == trials


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))], ids=str)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    """Also to a heading of another page, as GitHub names them."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, heading = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), target
        if heading:
            assert heading in {_anchor(line) for line in there.read_text().splitlines() if line.startswith("#")}, target


def _anchor(line: str) -> str:
    return re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")


def test_the_answers_under_a_deadline_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network of the quickstart, trained for less."""
    (block,) = (
        block for block in re.findall(r"```python\n(.*?)```", PAGES["inference"], re.S) if "AnytimePredictor" in block
    )
    assert len([line for line in block.splitlines() if line]) <= 10
    config = next(trial.config for trial in load(REPOSITORY / "sweeps/quickstart.yaml").trials)
    train(
        replace(config, training=TrainingConfig(steps=22, batch_size=64, learning_rate={0: 0.1})),
        checkpoints=tmp_path / "runs/trials/ID/checkpoints",
    )
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(block, found)
    assert 0 <= found["answer"].index < len(config.predicting_units)


@pytest.mark.parametrize("target", ["quickstart", "test"])
def test_the_two_commands_of_the_readme_are_in_the_makefile(target: str) -> None:
    assert f"make {target} " in README
    assert f"\n{target}: " in (REPOSITORY / "Makefile").read_text()


def test_the_method_in_the_readme_passes_the_check(tmp_path: Path) -> None:
    """As on the page that it is the beginning of."""
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "@register" in block)
    (tmp_path / "ramp.py").write_text(block)
    try:
        (verdict,) = conformance.check_file(tmp_path / "ramp.py")
    finally:
        importing.activate([])
    assert (verdict.name, verdict.kind, verdict.findings) == ("ramp", "weights", ())


@pytest.mark.parametrize("path", ["CONTRIBUTING.md", "CHANGELOG.md", "docs/extending.md"])
def test_what_the_readme_links_to_is_there(path: str) -> None:
    assert f"]({path})" in README
    assert (REPOSITORY / path).is_file()
