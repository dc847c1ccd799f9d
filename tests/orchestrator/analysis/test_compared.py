"""Comparisons by metrics of outcomes are those of a brute force over the outcomes in the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from answered import drawn_costs, drawn_logits

from anytime_core.outcomes import Outcomes, of_logits
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.compared import compared
from orchestrator.analysis.measurements import measure
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.analysis.tables import Tables
from orchestrator.analysis.verdicts import Verdict, verdicts
from orchestrator.ledger.ledger import OUTCOMES, Ledger
from orchestrator.report import publish
from orchestrator.report.losses import Losses
from orchestrator.report.status import read_tables, status
from orchestrator.report.verdicts.power import plan_text
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell

TEXT = """\
name: answered
networks: [{n: 1, c: 2}, {n: 2, c: 2}, {n: 3, c: 2}, {n: 1, c: 4}, {n: 2, c: 4}, {n: 3, c: 4}]
datasets: [{name: digits, validation: HELD_OUT}]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64}
report: {scope: cells, WISHES}
"""
ALL = f"compare: [{', '.join(METRICS)}]"
AHEAD = {"ann": 0.0, "aann": 1.0, "opt": 2.0}
"""By how much the logit of the true class is larger than where nothing is learnt but from depth to depth."""

Filled = tuple[Sweep, Ledger, Mapping[Cell, Mapping[str, Outcomes]]]


def answers(seed: int, predictions: int, ahead: float) -> Outcomes:
    logits, labels = drawn_logits(seed, predictions, 80, 4, scale=1.5)
    logits[:, np.arange(80), labels] += ahead
    return of_logits(logits, labels, drawn_costs(predictions))


@pytest.fixture
def fill(load_text, ledger, make_record) -> Callable[..., Filled]:
    """A sweep whose trials have ended with outcomes, but for those of the ``lacking`` methods on the network (1,2), and
    of the ``diverged`` ones there, which have not finished."""

    def filled(wishes: str = ALL, *, held_out: int = 0, lacking: str = "", diverged: str = "") -> Filled:
        sweep = load_text(TEXT.replace("WISHES", wishes).replace("HELD_OUT", str(held_out)))
        kept = {}
        for number, trial in enumerate(sweep.trials):
            cell, predictions = trial.cell, len(trial.config.predicting_units)
            draws = {"test": number} | ({"validation": 1000 + number} if held_out else {})
            by_split = {split: answers(seed, predictions, AHEAD[cell.method]) for split, seed in draws.items()}
            small, attempt = cell.network == "(1,2)", ledger.begin(trial)
            if not (small and cell.method == lacking):
                ledger.write_outcomes(attempt, by_split)
                kept[cell] = by_split
            errors = tuple((100 * (~by_split["test"].right).mean(axis=1)).tolist())
            ledger.finish(attempt, make_record(trial, None if small and cell.method == diverged else errors))
        return sweep, ledger, kept

    return filled


# By brute force


def error(one: Outcomes) -> float:
    return 100 * sum(answer != label for answer, label in zip(one.classes[-1], one.labels, strict=True)) / 80


def auc(one: Outcomes) -> float:
    ends = [*one.costs[1:], one.costs[-1]]
    areas = [
        (end - cost) * np.mean(row == one.labels) for cost, end, row in zip(one.costs, ends, one.classes, strict=True)
    ]
    return float(100 * sum(areas) / one.costs[-1])


def brier(one: Outcomes) -> float:
    sure = one.confidence.astype(float)
    return float(((sure - (one.classes == one.labels)) ** 2).mean())


def wasteful(one: Outcomes) -> float:
    return float(100 * np.mean([any(column[:-1]) for column in (one.classes == one.labels).T]))


BY_HAND = {"error": error, "auc": auc, "confidence_brier": brier, "wasteful": wasteful}


def pairs(kept: Mapping[Cell, Mapping[str, Outcomes]], metric: str, split: str = "test") -> Iterator[list[float]]:
    """Of each network the differences aann less ann, seed by seed."""
    of = BY_HAND.get(metric, METRICS[metric].of)
    values = {(cell.network, cell.seed, cell.method): of(one[split]) for cell, one in kept.items() if cell.unit is None}
    for network in dict.fromkeys(network for network, _, _ in values):
        yield [values[network, seed, "aann"] - values[network, seed, "ann"] for seed in (0, 1)]


def flipped(units: list[float]) -> float:
    """Two-sided: how often the sum of so many differences of random sign is so far from 0."""
    sums = [abs(sum(map(math.prod, zip(units, signs, strict=True)))) for signs in product([1, -1], repeat=len(units))]
    return sum(one >= abs(sum(units)) - 1e-9 for one in sums) / len(sums)


def of_metric(tables: Tables, metric: str) -> Verdict:
    (found,) = [each for each in verdicts(tables) if (each.method, each.metric) == ("aann", metric)]
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_wins_p_values_and_verdicts_are_those_of_the_outcomes(fill, metric) -> None:
    sweep, ledger, kept = fill(f"compare: [{metric}], rope: 0")
    built = read_tables(sweep, ledger)
    differences, sign = list(pairs(kept, metric)), 1 if metric in ("auc", "budgeted_area", "auroc", "wasteful") else -1
    won = [sign * difference for both in differences for difference in both]
    (wins,) = built.wins
    assert (wins.metric, wins.wins.wins, wins.wins.ties) == (
        metric,
        sum(d > 1e-9 for d in won),
        sum(abs(d) <= 1e-9 for d in won),
    )
    units = [sum(both) / 2 for both in differences]
    found = of_metric(built, metric)
    assert (found.units, found.dropped) == (6, 0)
    assert found.effect.mean == pytest.approx(sum(units) / 6, abs=1e-8)
    assert found.wins == sum(sign * unit > 1e-9 for unit in units)
    assert found.p == pytest.approx(flipped(units))
    word = "undecided" if found.p > 0.05 else "better" if sign * sum(units) > 0 else "worse"
    assert found.word == word
    inside = found.effect.mean_interval
    assert inside.low <= found.effect.mean <= inside.high


def test_methods_that_change_places_change_their_verdicts(fill) -> None:
    sweep, ledger, _ = fill(f"{ALL}, baseline: ann")
    forth = verdicts(read_tables(sweep, ledger))
    back = verdicts(read_tables(replace(sweep, report=sweep.report.model_copy(update={"baseline": "aann"})), ledger))
    other = {"better": "worse", "worse": "better", "equal": "equal", "undecided": "undecided"}
    assert [each.metric for each in forth] == [each.metric for each in back] == [*METRICS]
    for one, reverse in zip(forth, back, strict=True):
        assert reverse.word == other[one.word]
        assert (reverse.p, reverse.wins) == (one.p, 6 - one.wins - one.effect.equal)
        assert reverse.effect.mean == pytest.approx(-one.effect.mean)
        assert reverse.effect.mean_interval.low == pytest.approx(-one.effect.mean_interval.high)
    assert {each.word for each in forth if each.metric in ("auc", "budgeted_area", "error")} == {"better"}


@pytest.mark.parametrize("scale", ["points", "ratios"])
def test_an_accuracy_and_its_error_lead_to_one_verdict(fill, scale) -> None:
    """The AUC is the mean accuracy at any cost: 100 % less that is a mean error, compared as such."""
    sweep, ledger, _ = fill(f"compare: [error, auc], scale: {scale}, p_value: wilcoxon")
    built = read_tables(sweep, ledger)
    errors = built.measured
    columns = [np.asarray(errors.of(name, "auc")) for name in ("aann", "ann")]
    assert np.all((columns[0] > 0) & (columns[0] < 100)), "what an AUC lacks of 100 %"
    ratios = np.log(columns[0] / columns[1]).reshape(6, 2).mean(axis=1)
    found = of_metric(built, "auc")
    assert found.effect.relative == pytest.approx(-100 * np.expm1(ratios.mean()))
    if scale == "ratios":
        assert found.p == pytest.approx(flipped(ratios.tolist()))


def test_errors_of_outcomes_are_compared_as_the_papers_are(fill) -> None:
    sweep, ledger, _ = fill("compare: [1, AE, error, average_error]")
    built = read_tables(sweep, ledger)
    by_metric = {row.metric: row.wins for row in built.wins}
    assert [*by_metric] == ["1", "AE", "error", "average_error"]
    assert (by_metric["1"], by_metric["AE"]) == (by_metric["error"], by_metric["average_error"])
    assert next(row.errors.keys() for row in built.errors) == {"1/4", "1/2", "3/4", "1", "AE"}


def test_no_test_image_is_looked_at_where_some_are_held_out(fill) -> None:
    sweep, ledger, kept = fill("compare: [budgeted_area, ece]", held_out=100)
    built = read_tables(sweep, ledger)
    area, ece = METRICS["budgeted_area"], METRICS["ece"]
    for cell, one in kept.items():
        if cell.unit is None:
            row = [(each.network, each.seed) for each in built.measured.experiments].index((cell.network, cell.seed))
            held_out = built.measured.of(cell.method, "budgeted_area")[row], built.measured.of(cell.method, "ece")[row]
            assert held_out[0] == pytest.approx(100 - area.of(one["validation"]))
            assert held_out[1] == pytest.approx(ece.of(one["validation"]))


def test_a_trial_that_diverged_is_the_worst_by_every_metric(fill) -> None:
    sweep, ledger, _ = fill(ALL, diverged="aann")
    for each in verdicts(read_tables(sweep, ledger)):
        assert each.diverged == (2, 0, 0), each.metric
        assert each.effect.n == 5
    lost = {row.metric: row.wins for row in read_tables(sweep, ledger).wins}
    assert all(wins.n == 12 and wins.losses >= 2 for wins in lost.values())
    dropping = replace(sweep, report=sweep.report.model_copy(update={"diverged": "drop"}))
    assert {row.wins.dropped for row in read_tables(dropping, ledger).wins} == {2}


# What is not there


def test_pairs_without_outcomes_are_dropped_and_told(fill) -> None:
    sweep, ledger, _ = fill("compare: [1, auc, nll]", lacking="aann")
    built = read_tables(sweep, ledger)
    assert {row.metric: row.wins.dropped for row in built.wins} == {"1": 0, "auc": 2, "nll": 2}
    (note,) = [note for note in built.notes if "`orchestrate outcomes`" in note]
    assert note.startswith("2 finished trials without outcomes, or with damaged ones: no auc, nll")


def test_damaged_outcomes_are_missing_until_they_are_made_again(fill) -> None:
    sweep, ledger, kept = fill("compare: [auc]")
    trial = next(trial for trial in sweep.trials if trial.cell.method == "ann")
    path = ledger.local / "trials" / trial.id / OUTCOMES
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes(100))
    assert [row.wins.dropped for row in read_tables(sweep, ledger).wins] == [1]
    ledger.fill_outcomes(trial.id, kept[trial.cell])
    built = read_tables(sweep, ledger)
    assert [row.wins.dropped for row in built.wins] == [0]
    assert not any("orchestrate outcomes" in note for note in built.notes)


def test_optima_lack_what_needs_all_depths_and_a_note_says_so(fill) -> None:
    sweep, ledger, _ = fill("compare: [1, auc], baseline: opt")
    built = read_tables(sweep, ledger)
    assert {(row.metric, row.wins.n) for row in built.wins} == {("1", 12), ("auc", 0)}
    assert {each.metric for each in verdicts(built)} == {"1"}
    assert "opt: trained for one depth alone, and so without auc." in built.notes
    assert built.increases[0].metric == "1/4"  # those of errors, which an optimum has


# When outcomes are read


def counting(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials whose outcomes are read from now on."""
    read: list[str] = []

    def outcomes(self: Ledger, trial_id: str, original: Any = Ledger.outcomes) -> Any:
        read.append(trial_id)
        return original(self, trial_id)

    monkeypatch.setattr(Ledger, "outcomes", outcomes)
    return read


def test_each_file_is_read_once_and_only_for_a_metric_of_outcomes(fill, tmp_path, monkeypatch) -> None:
    wishes = "compare: [auc, ece, nll], tables: [wins, budgeted, classes], figures: [profiles, overthinking]"
    sweep, ledger, _ = fill(wishes)
    read = counting(ledger, monkeypatch)
    publish.write(sweep, ledger, tmp_path / "report", {}, losses=Losses())
    assert sorted(read) == sorted(trial.id for trial in sweep.trials if trial.cell.unit is None)
    read.clear()
    status(sweep, ledger)
    plan_text(sweep, ledger)
    for wishes in ([], ["1/2", "AE"]):
        read_tables(replace(sweep, report=sweep.report.model_copy(update={"compare": wishes})), ledger)
    assert read == []


def test_without_wishes_the_errors_themselves_are_compared(fill) -> None:
    sweep, ledger, _ = fill("p_value: sign-test")
    records = ledger.records(trial.id for trial in sweep.trials)
    errors = measure(sweep, records, {name: record.state for name, record in records.items()})
    assert compared(sweep, records, errors, Answers(sweep, ledger.outcomes)) is errors


# A quantity


@pytest.mark.parametrize("name", QUANTITIES)
def test_what_is_better_has_the_lower_loss(name) -> None:
    quantity = QUANTITIES[name]
    worse, better = (40.0, 30.0) if quantity.lower_is_better else (30.0, 40.0)
    assert 0 <= quantity.loss(better) < quantity.loss(worse)
    assert quantity.difference(quantity.loss(better) - quantity.loss(worse)) == better - worse
    assert quantity.lower_is_better or quantity.unit == "%"
    assert quantity.rope(0.1) == (0.1 if quantity.unit in ("%", "points") else 0)
