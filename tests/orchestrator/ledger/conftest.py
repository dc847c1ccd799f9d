"""Storages of trained halves of a sweep, trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from halves import sweep_of, trained

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep


@pytest.fixture(scope="session")
def _parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves")
    for name, seeds in {"first": [0], "second": [1], "whole": [0, 1]}.items():
        trained(sweep_of(folder / f"{name}.yaml", seeds), folder / name)
    return folder


@pytest.fixture(scope="session")
def both(_parts: Path) -> Sweep:
    """The sweep of both halves."""
    return sweep_of(_parts / "whole.yaml", [0, 1])


@pytest.fixture
def first(_parts: Path, tmp_path: Path) -> Ledger:
    """A storage with the trials of one seed."""
    return _copy(_parts, tmp_path, "first")


@pytest.fixture
def second(_parts: Path, tmp_path: Path) -> Ledger:
    """A storage with the trials of the other."""
    return _copy(_parts, tmp_path, "second")


@pytest.fixture
def whole_run(_parts: Path, tmp_path: Path) -> Ledger:
    """A storage in which all were trained."""
    return _copy(_parts, tmp_path, "whole")


def _copy(parts: Path, folder: Path, name: str) -> Ledger:
    return Ledger(Path(shutil.copytree(parts / name, folder / name)))
