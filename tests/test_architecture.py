"""Imports run one way: ``.importlinter`` says which, and each of its contracts breaks when it should."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("anytime_core", "orchestrator")
BREACHES = {
    "orchestrator-packages": ("orchestrator/ledger/index.py", "from orchestrator.report import layouts"),
    "trainer-packages": ("anytime_core/model/stages.py", "from anytime_core.training import step"),
    "no-cycles": ("orchestrator/ledger/storage.py", "from orchestrator.ledger import ledger"),
    "two-packages": ("anytime_core/cost.py", "from orchestrator import errors"),
    "trainer-libraries": ("anytime_core/training/step.py", "import pyarrow"),
    "fast-start": ("orchestrator/report/layouts/registry.py", "import torch"),
    "ray-allow": ("orchestrator/report/layouts/registry.py", "import ray"),
    "mlflow-allow": ("orchestrator/execution/driver.py", "import mlflow"),
}
"""For each contract a module and an import in it that the contract forbids."""


def lint(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Checks the packages that lie in ``root``, not those that are installed."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-logo", "--no-cache", *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_every_module_keeps_to_its_floor() -> None:
    done = lint(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / ".importlinter", root)
    return root


@pytest.mark.parametrize("contract", BREACHES)
def test_a_contract_breaks_at_an_import_that_it_forbids(contract: str, copy: Path) -> None:
    module, line = BREACHES[contract]
    path = copy / module
    before = path.read_text()
    path.write_text(f"{before}\n\ndef _breach() -> None:\n    {line}\n")
    try:
        done = lint(copy, "--contract", contract)
    finally:
        path.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout
    assert line.split()[-1] in done.stdout
    assert lint(copy, "--contract", contract).returncode == 0


def test_every_contract_is_shown_to_break() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / ".importlinter")
    found = {name.rpartition(":")[2] for name in config.sections() if name.startswith("importlinter:contract:")}
    assert found == BREACHES.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_says_what_it_is_for(package: str) -> None:
    for path in (REPOSITORY / package).rglob("__init__.py"):
        assert path.read_text().startswith('"""'), path
        assert path.read_text().split("\n")[0].rstrip('"').endswith("."), path
