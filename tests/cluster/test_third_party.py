"""A package of somebody else's, installed in a virtual environment of its own, adds one of each kind.

Its modules are the examples of the documentation. The environment is a new one, into which pip installs this project
and that package; torch, Ray and MLflow, which take 5 GB, are seen from where the tests run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from cluster_user import User
from test_extensions import cluster_of, user_in

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
REPOSITORY = Path(__file__).parents[2]
PROJECT = ("anytime_core", "orchestrator", "sweeps", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
EXAMPLES = {
    name: text
    for page in ("extending.md", "networks.md")
    for name, text in re.findall(r"```python\n# (\S+)\.py\n(.*?)```", (REPOSITORY / "docs" / page).read_text(), re.S)
}
LAB = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "lab-of-three"
version = "1.2"

[project.entry-points.anytime_orchestrator]
"""
OWN = '''"""Not in the package: beside the sweep file."""
from dataclasses import dataclass

from anytime_core.extend import Weighting, register


@register("own")
@dataclass(frozen=True, kw_only=True)
class Own(Weighting):
    def weights(self, costs, progress):
        return [1.0] * (len(costs) - 1) + [2.0]
'''
SWEEP = """
name: small
extensions:
  [lab-ramp, lab-inverse, lab-distil, lab-boost, lab.last_first, lab.staged, lab.records, lab.my_report, own.py]
networks: [{n: 1, c: 2}, {name: layers, width: 8}]
datasets: [{name: clouds, path: clouds, format: records, channels: 1, side: 8}]
methods:
  ann: {}
  ramp: {weights: ramp}
  inverse: {strategy: inverse}
  distil: {objective: distil}
  boost: {answers: running_sum, flow: balanced}
  first: {regime: last_first}
  own: {weights: own}
training: {steps: 4, batch_size: 16, learning_rate: {0: 0.1}}
report: {baseline: ann, p_value: cautious, tables: [errors, counts], figures: [curves]}
"""
METHODS = ["ann", "ramp", "inverse", "distil", "boost", "first", "own"]
SHAPE = "layers width=8"


class Environment:
    """A virtual environment with this project and the package in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "env"
        venv.create(self.folder)
        self.scripts = self.folder / "bin"
        self.lab = folder / "lab-of-three"
        outer = sysconfig.get_path("purelib")
        (Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)})) / "others.pth").write_text(outer)
        ray = f"#!{self.scripts / 'python'}\nfrom ray.scripts.scripts import main\nmain()\n"
        (self.scripts / "ray").write_text(ray)
        (self.scripts / "ray").chmod(0o755)
        project = folder / "project"
        project.mkdir()
        for name in PROJECT:
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
            copy(REPOSITORY / name, project / name)
        self._install(project)
        self.write_lab(EXAMPLES)

    def write_lab(self, modules: dict[str, str]) -> None:
        """Installs the package with these modules, in place of what it was."""
        (self.lab / "lab").mkdir(parents=True, exist_ok=True)
        (self.lab / "lab" / "__init__.py").touch()
        points = "".join(f'lab-{name} = "lab.{name}"\n' for name in modules)
        (self.lab / "pyproject.toml").write_text(LAB + points)
        for name, text in modules.items():
            (self.lab / "lab" / f"{name}.py").write_text(text)
        self._install(self.lab)

    def _install(self, project: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.scripts / "python"), "--disable-pip-version-check"]
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall"]
        subprocess.run([*pip, "install", *options, str(project)], check=True, cwd=project)

    def says(self, code: str) -> str:
        return self.run("python", "-c", code).strip()

    def run(self, program: str, *words: str) -> str:
        """What it prints, where only this environment is imported from."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [self.scripts / program, *words]
        done = subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("third"))


def images(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 24)):
        pixels = rng.integers(0, 256, (count, 64), np.uint8)
        (folder / f"{split}.bin").write_bytes(np.insert(pixels, 0, np.arange(count) % 3, axis=1).tobytes())


def user_of(environment: Environment, folder: Path, text: str = "") -> User:
    user = user_in(folder, text)
    user.scripts = environment.scripts
    user.environment.pop("PYTHONPATH", None)
    return user


def test_one_of_each_kind_from_an_idea_to_every_command(environment: Environment, tmp_path: Path) -> None:
    for package in ("orchestrator", "anytime_core", "lab"):
        place = environment.says(f"import {package}; print({package}.__file__)")
        assert place.startswith(str(environment.folder)), place
    user, node = user_of(environment, tmp_path / "here", SWEEP), user_of(environment, tmp_path / "there")
    images(user.folder / "clouds")
    (user.folder / "own.py").write_text(OWN)
    with ExitStack() as stack:
        head, _ = cluster_of(stack, node, node)
        said = user.run("sweep", "--address", head.address, "--trust")
        assert said.code == 0, said.stderr
        again = user.run("sweep", "--address", head.address)
    results = user.results()
    assert len(results) == 2 * len(METHODS)
    assert user.attempts() == dict.fromkeys(results, 1)
    assert (again.code, "14 finished" in again.stderr) == (0, True), again.stderr
    used = {word.split()[0] for it in results.values() for word in it["provenance"]["extensions"].split("; ")}
    assert used == {*(f"lab-{name}" for name in ("ramp", "inverse", "distil", "boost")), "own.py"} | {
        f"lab.{name}" for name in ("last_first", "staged", "records")
    }
    assert "Lines of errors" in said.stdout
    assert all(network in said.stdout for network in ("(1,2)", SHAPE))
    assert [*(user.storage / "sweeps" / "small" / "report").glob("**/*curves*")]
    np.save(user.folder / "image.npy", np.zeros((8, 8), np.uint8))
    for command, words in {
        "plan": (),
        "status": (),
        "show": ("distil", *SHAPE.split()),
        "profile": ("boost", *SHAPE.split(), "--repeats", "1"),
        "predict": ("boost", *SHAPE.split(), str(user.folder / "image.npy")),
        "reproduce": ("own", *SHAPE.split()),
        "export": ("distil", *SHAPE.split(), "--output", str(user.folder / "net.zip")),
    }.items():
        done = user.run(command, *words)
        assert done.code == 0, (command, done.stderr)
    assert (user.folder / "net.zip").stat().st_size


def test_only_what_the_code_says_moves_trials(environment: Environment, tmp_path: Path) -> None:
    user = user_of(environment, tmp_path / "here", SWEEP)
    images(user.folder / "clouds")
    (user.folder / "own.py").write_text(OWN)

    def ids() -> dict[tuple[str, str], str]:
        done = user.run("plan", "--format", "json", "--trust")
        assert done.code == 0, done.stderr
        return {(row["method"], row["network"]): row["id"] for row in json.loads(done.stdout)}

    before = ids()
    try:
        comments = {name: f"# why\n{text.replace('return', 'return  ')}" for name, text in EXAMPLES.items()}
        environment.write_lab(comments)
        assert ids() == before
        environment.write_lab(EXAMPLES | {"ramp": EXAMPLES["ramp"].replace("0.01", "0.02")})
        after = ids()
        assert {name for name, identity in after.items() if identity != before[name]} == {
            ("ramp", "(1,2)"),
            ("ramp", SHAPE),
        }
    finally:
        environment.write_lab(EXAMPLES)


def test_what_the_package_announces_is_listed(environment: Environment) -> None:
    said = environment.run("orchestrate", "extension", "list", "--format", "json")
    listed = {row["name"]: (row["module"], row["package"], row["version"]) for row in json.loads(said)}
    assert listed == {f"lab-{name}": (f"lab.{name}", "lab-of-three", "1.2") for name in EXAMPLES}
