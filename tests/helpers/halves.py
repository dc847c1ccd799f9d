"""A sweep of four trials that are really trained, as a whole or by its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

TEXT = """
name: halves
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [SEEDS]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


def sweep_of(path: Path, seeds: Sequence[int]) -> Sweep:
    path.write_text(TEXT.replace("SEEDS", ", ".join(map(str, seeds))))
    return load(path)


def trained(sweep: Sweep, storage: Path) -> Ledger:
    """All of its trials, as workers train them."""
    ledger = Ledger(storage)
    ledger.make()
    for trial in sweep.trials:
        where = WorkerContext(storage=storage, data_root=storage / "data", sweep=sweep.name)
        assert run_trial(trial, where, lambda epochs: None).error is None
    return ledger


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files that say something, by their paths."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if content}


def changed(folder: Path) -> dict[str, int]:
    """When each file and folder was last changed."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
