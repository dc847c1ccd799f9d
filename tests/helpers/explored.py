"""The tables of a sweep whose trials have outcomes and no more, and what the page's explorer shows of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from answered import drawn_outcomes

from anytime_core.outcomes import Outcomes
from orchestrator.analysis import tables as building
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.tables import Tables
from orchestrator.report import layouts
from orchestrator.report.pages import explorer
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.sweepfile.load import load


def sweep_text(*, validation: int = 0, datasets: str = "", seeds: str = "[0, 1]", report: str = "{}") -> str:
    """Networks of 3 and of 6 predictions, by two methods, and one for a single depth."""
    return (
        "name: small\nnetworks: [{n: 1, c: 2}, {n: 2, c: 2}]\n"
        f"datasets: [{{name: digits, validation: {validation}}}{datasets}]\n"
        "methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}\n"
        f"seeds: {seeds}\ntraining: {{steps: 4, batch_size: 64, learning_rate: {{0: 0.1}}}}\nreport: {report}\n"
    )


def tables_with(sweep: Sweep, outcomes: Callable[[str], Mapping[str, Outcomes]]) -> Tables:
    """``outcomes`` gives those of a trial by split; empty for one that has none."""
    states = dict.fromkeys((trial.id for trial in sweep.trials), TrialState.PENDING)
    taken = [*layouts.taken(sweep), *explorer.taken(sweep)]
    return building.build(sweep, {}, states, Answers(sweep, outcomes, taken))


def drawn_for(sweep: Sweep, images: int = 200) -> dict[str, dict[str, Outcomes]]:
    """Outcomes of each trial, on held-out images, too, where it has some."""
    found: dict[str, dict[str, Outcomes]] = {}
    for number, trial in enumerate(sweep.trials):
        predictions = len(trial.config.predicting_units)
        splits = ("test", "validation") if trial.config.data.validated else ("test",)
        found[trial.id] = {
            split: drawn_outcomes(2 * number + index, predictions, images, 10, 1.0)
            for index, split in enumerate(splits)
        }
    return found


def explored(folder: Path) -> dict[str, Any]:
    """Of two data sets; (2,2) by aann is not there for cifar10."""
    path = folder / "small.yaml"
    path.write_text(sweep_text(datasets=", cifar10"))
    sweep = load(path)
    kept = drawn_for(sweep)
    for trial in sweep.trials:
        if (trial.cell.dataset, trial.cell.network, trial.cell.method) == ("cifar10", "(2,2)", "aann"):
            kept[trial.id] = {}
    return explorer.content(tables_with(sweep, kept.__getitem__))
