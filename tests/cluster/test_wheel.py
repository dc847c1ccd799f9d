"""The wheel is whole: in an empty environment, outside of the repository, it has the sweeps and runs the quickstart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from test_third_party import PROJECT, REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SWEEPS = {path.name for path in (REPOSITORY / "sweeps").glob("*.yaml")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    project = folder / "project"
    project.mkdir()
    for name in PROJECT:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, project / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-w", str(folder), str(project)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def empty(folder: Path) -> Path:
    """An environment with nothing of this project; torch, Ray and MLflow, which take 5 GB, are seen from outside."""
    venv.create(folder)
    outer = sysconfig.get_path("purelib")
    (Path(sysconfig.get_path("purelib", vars={"base": str(folder)})) / "others.pth").write_text(outer)
    return folder


def run(environment: Path, folder: Path, *words: str) -> str:
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHONPATH", "RAY_", "MLFLOW_", "ORCHESTRATE_"))
    }
    command = [environment / "bin" / "orchestrate", *words]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_sweeps_and_the_tested_versions(wheel: Path) -> None:
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert {*SWEEPS, "constraints.txt"} <= names


def test_installed_by_uv_it_lists_its_sweeps_and_copies_one(wheel: Path, tmp_path: Path) -> None:
    environment = empty(tmp_path / "env")
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-deps", "--offline", "--python"]
    subprocess.run([*uv, environment / "bin" / "python", wheel], check=True)
    listed = json.loads(run(environment, tmp_path, "sweeps", "--format", "json"))
    assert {f"{row['sweep']}.yaml" for row in listed} == SWEEPS
    assert run(environment, tmp_path, "sweeps", "--copy", "table6")
    assert (tmp_path / "table6.yaml").read_bytes() == (REPOSITORY / "sweeps" / "table6.yaml").read_bytes()
    assert "390 trials: 390 to run" in run(environment, tmp_path, "plan", "table6")


def test_installed_by_pip_it_runs_the_quickstart(wheel: Path, tmp_path: Path) -> None:
    environment = empty(tmp_path / "env")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    said = run(environment, tmp_path, "sweep", "quickstart")
    assert "Test error in % at fractions of the cost" in said
    assert len(list((tmp_path / "runs" / "trials").glob("*/result.json"))) == 28
    assert "quickstart: 28 finished" in run(environment, tmp_path, "status", "quickstart")
