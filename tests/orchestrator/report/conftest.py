"""Sweeps whose trials have ended and left their answers to each image, made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from answered import drawn_logits

from anytime_core.cost import trial_costs
from anytime_core.outcomes import Outcomes, of_logits
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.outcomes.policies import product
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, Trial

IMAGES = 60


@dataclass(frozen=True, kw_only=True)
class Answered:
    """``kept`` are the outcomes of trials for all depths by cell and split, as the ledger has them."""

    sweep: Sweep
    ledger: Ledger
    kept: Mapping[Cell, Mapping[str, Outcomes]]

    def of(self, method: str, split: str = "test", network: str = "") -> list[Outcomes]:
        """Those of the seeds of a method, on one network where that is given."""
        return [
            by_split[split]
            for cell, by_split in self.kept.items()
            if cell.method == method and network in ("", cell.network)
        ]


@pytest.fixture
def answered(load_text, ledger, make_record) -> Callable[..., Answered]:
    """Ends all trials of the sweep in a text. Those that are ``lost`` leave no outcomes, those of ``uncounted`` none of
    Product Anytime."""

    def ended(
        text: str,
        lost: Callable[[Cell], bool] = lambda cell: False,
        uncounted: Callable[[Cell], bool] = lambda cell: False,
    ) -> Answered:
        sweep, kept = load_text(text), {}
        for number, trial in enumerate(sweep.trials):
            by_split = drawn(number, trial, counted=not uncounted(trial.cell))
            errors = 100 * (1 - by_split["validation" if trial.config.data.validated else "test"].right.mean(1))
            ledger.finish(ledger.begin(trial), make_record(trial, tuple(errors.tolist())))
            if not lost(trial.cell):
                ledger.fill_outcomes(trial.id, by_split)
                kept |= {trial.cell: by_split} if trial.cell.unit is None else {}
        return Answered(sweep=sweep, ledger=ledger, kept=kept)

    return ended


def drawn(seed: int, trial: Trial, *, counted: bool) -> dict[str, Outcomes]:
    held_out = ["validation"] if trial.config.data.validated else []
    return {
        split: outcomes(seed + 1000 * place, trial_costs(trial.config), counted=counted)
        for place, split in enumerate([*held_out, "test"])
    }


def outcomes(seed: int, costs: Any, *, counted: bool) -> Outcomes:
    logits, labels = drawn_logits(seed, len(costs), IMAGES, 10)
    found = of_logits(logits, labels, costs)
    right = product(logits, found).right.sum(1)
    return replace(found, product_right=tuple(map(int, np.asarray(right)))) if counted else found
