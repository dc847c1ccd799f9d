"""Extensions to test with, forgotten after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.extensions import importing
from orchestrator.extensions.finding import Extension, find
from orchestrator.sweepfile import reported, schema

RAMP = '''"""Weights that rise."""
from dataclasses import dataclass

from anytime_core.extend import Progress, Weighting, register


@register("ramp")
@dataclass(frozen=True, kw_only=True)
class Ramp(Weighting):
    power: float = 1.0

    def weights(self, costs, progress: Progress):
        return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]
'''
Found = Callable[..., Extension]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    importing.activate([])
    reported.install()
    schema.rebuild()


@pytest.fixture
def ramp() -> str:
    return RAMP


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Writes files by name, and finds the extension that the first is, or ``given``."""

    def write(given: str = "", **files: str) -> Extension:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return find(given or f"{next(iter(files))}.py", tmp_path)

    return write
