"""The outcomes of a sweep are read once for all that is taken of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from answered import drawn_outcomes

from anytime_core.outcomes import Outcomes
from orchestrator.analysis.answers import Answers, Kept
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load


def sweep_of(tmp_path: Path, validation: int = 0) -> Sweep:
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nnetworks: [{{n: 1, c: 2}}]\ndatasets: [{{name: digits, validation: {validation}}}]\n"
        "methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}\nseeds: [0, 1]\n"
        "training: {steps: 4, batch_size: 64, learning_rate: {0: 0.1}}\n"
    )
    return load(path)


def images(kept: Kept) -> int:
    return len(kept.own.labels)


def last_accuracy(kept: Kept) -> float:
    return float(kept.own.right[-1].mean())


def test_what_is_wanted_is_taken_of_each_trial_in_one_reading(tmp_path) -> None:
    sweep, reads = sweep_of(tmp_path), Counter()
    kept = {trial.id: drawn_outcomes(number, 3, 20 + number, 5) for number, trial in enumerate(sweep.trials)}
    gone = next(iter(kept))

    def outcomes(trial_id: str) -> dict[str, Outcomes]:
        reads[trial_id] += 1
        return {} if trial_id == gone else {"test": kept[trial_id]}

    answers = Answers(sweep, outcomes, [images, last_accuracy])
    assert not reads  # nothing is asked for yet
    for cell, trial_id in sweep.cells.items():
        expected = None if cell.unit is not None or trial_id == gone else len(kept[trial_id].labels)
        assert answers.of(cell, images) == expected
        if expected:
            assert answers.of(cell, last_accuracy) == pytest.approx(kept[trial_id].right[-1].mean())
    whole = [trial_id for cell, trial_id in sweep.cells.items() if cell.unit is None]
    assert reads == dict.fromkeys(whole, 1)


def test_held_out_images_are_a_trials_own_where_it_has_some(tmp_path) -> None:
    sweep = sweep_of(tmp_path, validation=100)
    by_split = {"test": drawn_outcomes(0, 3, 30, 5), "validation": drawn_outcomes(1, 3, 40, 5)}
    cell = next(iter(sweep.cells))
    assert Answers(sweep, lambda trial_id: by_split).of(cell, images) == 40
    assert Answers(sweep, lambda trial_id: by_split).of(cell, lambda kept: len(kept.test.labels)) == 30
    assert Answers(sweep, lambda trial_id: {"test": by_split["test"]}).of(cell, images) is None
