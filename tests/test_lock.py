"""requirements.lock names the tested versions, each with the hashes of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LOCK = (REPOSITORY / "requirements.lock").read_text()


def pinned(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def test_the_locked_versions_are_the_tested_ones() -> None:
    tested = {_plain(name): version for name, version in pinned((REPOSITORY / "constraints.txt").read_text()).items()}
    locked = {_plain(name): version for name, version in pinned(LOCK).items()}
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}


def test_everything_that_is_needed_is_locked_with_its_hashes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["server"], *extras["export"]]
    locked = {_plain(name) for name in pinned(LOCK)}
    assert {_plain(re.match(r"[\w.-]+", text)[0]) for text in needed} <= locked  # type: ignore[index]
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", block) for block in blocks)


def test_no_line_names_another_place_to_install_from() -> None:
    assert not re.search(r"https?:|^-", LOCK, re.MULTILINE)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
