"""Tables of single predictions, and of what other images would have said, against numbers of each trial."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from answered import drawn_logits

from anytime_core.cost import trial_costs
from anytime_core.outcomes import of_logits
from orchestrator.report import layouts
from orchestrator.report.layouts.noise import OF_ONE
from orchestrator.report.layouts.outcomes import NONE_KEPT, TOO_CHEAP
from orchestrator.report.status import read_tables
from orchestrator.stats.outcomes.image_noise import mcnemar

TEXT = """\
name: noisy
networks: [{n: 2, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}
seeds: [0, 1, 2]
training: {steps: 44, batch_size: 64}
report: {tables: [predictions, image_noise]}
"""


def arranged(made):
    return {table.name: table for table in layouts.arrange(read_tables(made.sweep, made.ledger))}


def on_the_same_images(made) -> dict[tuple[str, int], np.ndarray]:
    """Gives all trials answers to the same images; whether the last prediction is wrong, by method and seed."""
    labels, wrong = drawn_logits(0, 1, 200, 10)[1], {}
    for number, trial in enumerate(made.sweep.trials):
        costs = trial_costs(trial.config)
        logits = drawn_logits(number, len(costs), 200, 10)[0]
        outcomes = of_logits(logits + 3 * np.eye(10, dtype=np.float32)[labels], labels, costs)
        made.ledger.fill_outcomes(trial.id, {"test": outcomes})
        wrong[trial.cell.method, trial.cell.seed] = ~outcomes.right[-1]
    return wrong


def test_single_predictions_have_the_numbers_of_each_seed(answered) -> None:
    made = answered(TEXT)
    table = arranged(made)["predictions"]
    costs = made.of("ann")[0].costs
    for fraction, share in (("1/2", 0.5), ("3/4", 0.75), ("1", 1.0)):
        place = max(k for k, cost in enumerate(costs) if cost <= share * costs[-1])
        (row,) = [row for row in table.rows if (row[1].value, row[2].value) == ("ann", fraction)]
        for entry, of in zip(row[3:], OF_ONE.values(), strict=True):
            assert entry.value == pytest.approx(fmean(of(outcomes)[place] for outcomes in made.of("ann")))


def test_differences_are_of_the_same_images_with_an_interval_around_them(answered) -> None:
    made = answered(TEXT)
    wrong = on_the_same_images(made)
    (row,) = arranged(made)["image_noise"].rows
    assert [entry.value for entry in row[:3]] == ["digits", "(2,2)", "aann"]
    differences = [100 * (wrong["aann", seed].mean() - wrong["ann", seed].mean()) for seed in range(3)]
    assert row[3].value == pytest.approx(fmean(differences))
    low, high = map(float, str(row[4].value).split(" to "))
    assert low < fmean(differences) < high
    test = mcnemar(~wrong["aann", 0], ~wrong["ann", 0])
    assert (row[5].value, row[6].value, row[7].value) == (test.only_own, test.only_other, pytest.approx(test.p))
    assert arranged(made)["image_noise"].rows == (row,)  # the same draws each time


def test_other_images_are_not_compared(answered) -> None:
    made = answered(TEXT)  # whose trials have images of their own
    table = arranged(made)["image_noise"]
    assert all(entry.value is None for row in table.rows for entry in row[3:])
    assert NONE_KEPT in table.notes


def test_a_network_with_one_prediction_has_no_numbers_of_several(answered) -> None:
    text = TEXT.replace("n: 2, c: 2", "n: 1, c: 2, period: 3")
    names = ("budgeted", "overthinking", "monotonicity", "policies")
    made = answered(text.replace("predictions, image_noise", ", ".join(names)))
    assert len(made.of("ann")[0].costs) == 1
    for name, table in arranged(made).items():
        numbers = [entry for row in table.rows for entry in row if not isinstance(entry.value, str)]
        assert all(entry.value is None for entry in numbers), name
        assert TOO_CHEAP in table.notes
