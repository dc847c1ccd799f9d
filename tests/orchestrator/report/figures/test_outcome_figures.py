"""Figures of answers to each image show what loops over images give, are drawn only where they are asked for, and say
what they lack."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from anytime_core.outcomes import Outcomes
from orchestrator.analysis.curves import Curve, Panel
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import figures, publish
from orchestrator.report.figures import drawing
from orchestrator.report.figures.registry import NO_OUTCOMES
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.report.losses import Losses
from orchestrator.stats.outcomes.budgeted import whole_curve
from orchestrator.stats.outcomes.curves import accuracy_at
from orchestrator.stats.outcomes.exits import MEANINGS, exit_curves
from orchestrator.sweep.grid import Sweep

NAMES = ("policies", "reliability", "truth", "overthinking")
TEXT = """\
name: answered
networks: [{n: 1, c: 2}, {n: 2, c: 2}]
datasets: [{name: digits, validation: 0}]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}
seeds: [0, 1, 2]
training: {steps: 44, batch_size: 64}
report: {figures: [policies, reliability, truth, overthinking], tables: [errors, policies, overthinking]}
"""
HELD_OUT = TEXT.replace("validation: 0", "validation: 100")
KEEPS = "`orchestrate outcomes` keeps"


def shown(name: str, made) -> dict[str, Panel]:
    return {panel.title: panel for panel in figures.panels(name, made.sweep, made.ledger)}


def curve(panel: Panel, label: str) -> Curve:
    (found,) = [curve for curve in panel.curves if curve.label == label]
    return found


def of(made, method: str, n: int = 2, split: str = "test") -> list[Outcomes]:
    """The outcomes of each seed."""
    return [by_split[split] for cell, by_split in made.kept.items() if (cell.method, cell.n) == (method, n)]


def relative(outcomes: Outcomes) -> list[float]:
    return [cost / outcomes.costs[-1] for cost in outcomes.costs]


def share(flags: Sequence[bool]) -> float:
    return 100 * fmean(map(bool, flags))


# Numbers


def test_there_is_a_panel_for_each_network_and_method_and_none_of_optima(answered) -> None:
    made = answered(TEXT)
    single = ["ann, digits (1,2)", "aann, digits (1,2)", "ann, digits (2,2)", "aann, digits (2,2)"]
    for name in ("policies", "reliability", "overthinking"):
        assert [*shown(name, made)] == single
    panels = shown("truth", made)
    assert [*panels] == ["digits (1,2)", "digits (2,2)"]
    assert [curve.label for curve in panels["digits (2,2)"].curves] == ["ann", "aann"]


@pytest.mark.parametrize("text", [TEXT, HELD_OUT])
def test_each_policy_is_read_off_its_lines_and_averaged(answered, text: str) -> None:
    made = answered(text)
    panel = shown("policies", made)["aann, digits (2,2)"]
    held_out = of(made, "aann", split="validation") if text == HELD_OUT else (None,) * 3
    pairs = zip(of(made, "aann"), held_out, strict=True)
    seeds = [exit_curves(test, whole_curve(test, validation)) for test, validation in pairs]
    assert [curve.label for curve in panel.curves] == [*MEANINGS]
    for name in MEANINGS:
        found = curve(panel, name)
        assert found.reference == (name in ("anytime", "oracle"))
        assert (found.x[0], found.x[-1]) == pytest.approx((relative(of(made, "aann")[0])[0], 1))
        for x, y in list(zip(found.x, found.y, strict=True))[1::10]:
            assert y == pytest.approx(fmean(accuracy_at(curves[name], x) for curves in seeds)), (name, x)
    assert panel.notes == ("mean of 3 seeds",)


def test_reliability_pools_the_images_of_all_seeds_bin_by_bin(answered) -> None:
    made = answered(TEXT)
    panel = shown("reliability", made)["ann, digits (2,2)"]
    seeds = of(made, "ann")
    places = {
        f"at {name} of the cost": max(k for k, cost in enumerate(relative(seeds[0])) if cost <= limit)
        for name, limit in (("1/4", 0.25), ("1/2", 0.5), ("3/4", 0.75))
    }
    for label, place in (places | {"at the full cost": 5}).items():
        bins: dict[int, list[tuple[float, bool]]] = {}
        for outcomes in seeds:
            for image, truth in enumerate(outcomes.labels):
                sure = float(outcomes.confidence[place, image])
                (held,) = [b for b in range(15) if b / 15 < sure <= (b + 1) / 15]
                bins.setdefault(held, []).append((100 * sure, outcomes.classes[place, image] == truth))
        pairs = [bins[held] for held in sorted(bins)]
        found = curve(panel, label)
        assert found.x == pytest.approx([fmean(sure for sure, _ in pair) for pair in pairs])
        assert found.y == pytest.approx([share([right for _, right in pair]) for pair in pairs])
    assert curve(panel, "as right as confident").x == curve(panel, "as right as confident").y == (0, 100)
    assert panel.notes == ("3 seeds pooled",)


def test_a_fraction_below_the_first_prediction_has_no_curve(answered) -> None:
    """The network of one unit a block predicts first at a third of its cost."""
    labels = [curve.label for curve in shown("reliability", answered(TEXT))["ann, digits (1,2)"].curves]
    assert labels == ["at 1/2 of the cost", "at 3/4 of the cost", "at the full cost", "as right as confident"]


def test_the_true_class_has_its_mean_probability_with_the_spread_of_seeds(answered) -> None:
    made = answered(TEXT)
    panel, seeds = shown("truth", made)["digits (2,2)"], of(made, "aann")
    found = curve(panel, "aann")
    by_prediction = [[fmean(map(float, outcomes.of_truth[k])) for outcomes in seeds] for k in range(6)]
    assert found.x == pytest.approx(relative(seeds[0]))
    assert found.y == pytest.approx([fmean(means) for means in by_prediction])
    assert found.spread == pytest.approx([stdev(means) for means in by_prediction])
    assert panel.full_cost == seeds[0].costs[-1]


def test_what_was_ever_right_stands_above_what_is_right(answered) -> None:
    made = answered(TEXT)
    panel, seeds = shown("overthinking", made)["ann, digits (2,2)"], of(made, "ann")
    for k in range(6):
        ever = [share([any(column) for column in outcomes.right[: k + 1].T]) for outcomes in seeds]
        now = [share(outcomes.right[k]) for outcomes in seeds]
        first = [share([[*column].index(True) == k if any(column) else False for column in o.right.T]) for o in seeds]
        for label, values in (("ever right", ever), ("right", now), ("first right", first)):
            assert curve(panel, label).y[k] == pytest.approx(fmean(values)), label
            assert curve(panel, label).spread[k] == pytest.approx(stdev(values)), label


def test_images_held_out_are_those_of_the_errors_and_policies_are_tested_on_the_others(answered) -> None:
    made = answered(HELD_OUT)
    assert {name: next(iter(shown(name, made).values())).y_label for name in NAMES} == {
        "policies": "test accuracy (%)",
        "reliability": "validation accuracy (%)",
        "truth": "mean probability of the true class",
        "overthinking": "validation images (%)",
    }
    found = curve(shown("overthinking", made)["ann, digits (2,2)"], "right")
    assert found.y[-1] == pytest.approx(fmean(share(o.right[-1]) for o in of(made, "ann", split="validation")))


# What is missing


def test_trials_without_outcomes_are_counted_and_named(answered) -> None:
    made = answered(TEXT, lost=lambda cell: cell.n == 2 and (cell.method == "ann" or cell.seed == 0))
    missing = "1 of 3 trials missing: aann"
    why = f"1 without outcomes: {KEEPS} them"
    assert shown("policies", made)["aann, digits (2,2)"].notes == ("mean of 2 seeds", missing, why)
    assert shown("reliability", made)["aann, digits (2,2)"].notes == ("2 seeds pooled", missing, why)
    assert shown("overthinking", made)["ann, digits (2,2)"].curves == ()
    truth = shown("truth", made)["digits (2,2)"]
    assert truth.notes == ("4 of 6 trials missing: ann, aann", f"4 without outcomes: {KEEPS} them")
    assert [curve.label for curve in truth.curves] == ["aann"]


@pytest.mark.parametrize("name", NAMES)
def test_without_outcomes_a_figure_is_not_drawn_and_the_reason_names_the_command(answered, tmp_path, name: str) -> None:
    made = answered(TEXT, lost=lambda cell: True)
    assert KEEPS in str(drawing.reason(name, made.sweep, made.ledger))
    assert drawing.draw(name, made.sweep, made.ledger) == {}
    found = publish.write(made.sweep, made.ledger, tmp_path, {}, losses=Losses())
    assert f"Figure {name} is not drawn: {NO_OUTCOMES}." in found.notes


def test_a_sweep_of_optima_alone_is_told_why(answered) -> None:
    made = answered(
        TEXT.replace("ann: {}, aann: {strategy: aann}, ", "").replace("report:", "report: {baseline: opt}\n#")
    )
    with pytest.raises(UnsuitedError, match="no method is trained for all depths"):
        figures.panels("policies", made.sweep, made.ledger)


# Reading


def asking(sweep: Sweep, **wishes: object) -> Sweep:
    return replace(sweep, report=sweep.report.model_copy(update=wishes))


def test_one_reading_of_each_trial_serves_all_figures_and_tables_of_a_report(answered, tmp_path, monkeypatch) -> None:
    made, reads, outcomes = answered(TEXT), Counter(), Ledger.outcomes

    def counted(ledger: Ledger, trial_id: str) -> dict[str, Outcomes]:
        reads[trial_id] += 1
        return outcomes(ledger, trial_id)

    monkeypatch.setattr(Ledger, "outcomes", counted)
    publish.write(made.sweep, made.ledger, tmp_path, {}, losses=Losses())
    assert reads == dict.fromkeys((made.sweep.cells[cell] for cell in made.kept), 1)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {*NAMES}


def test_nothing_is_read_where_nothing_of_outcomes_is_asked_for(answered, tmp_path, monkeypatch) -> None:
    made = answered(TEXT)
    monkeypatch.setattr(Ledger, "outcomes", lambda *_: pytest.fail("outcomes are read"))
    losses = Losses()
    publish.write(asking(made.sweep, figures=[], tables=[], explorer=False), made.ledger, tmp_path, {}, losses=losses)
    assert not losses
    assert "cost.png" in {path.name for path in (tmp_path / "figures").iterdir()}
    assert not {*drawing.suited(made.sweep)} & {*NAMES}


# Files

LABELS = {
    "policies": ["mean cost / full cost", "multiply-adds (millions)", "test accuracy (%)", "patience", "oracle"],
    "reliability": ["confidence (%)", "test accuracy (%)", "at 1/2 of the cost", "as right as confident"],
    "truth": ["cost / full cost", "mean probability of the true class", "aann", "± s.d. over seeds"],
    "overthinking": ["cost / full cost", "test images (%)", "ever right", "first right"],
}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_drawn_with_its_labels_and_nothing_is_cut_off(answered, tmp_path, name: str) -> None:
    made = answered(TEXT, lost=lambda cell: cell.seed == 2)
    drawn = drawing.draw(name, made.sweep, made.ledger)
    _, svg = drawing.save(drawn, tmp_path)
    texts = {"".join(element.itertext()) for element in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {*LABELS[name]} <= texts
    (figure,) = drawn.values()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()
