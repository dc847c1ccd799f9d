"""The page's explorer shows at each setting what a count image by image gives."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from explored import drawn_for, sweep_text, tables_with

from anytime_core.outcomes import Outcomes
from orchestrator.report import layouts
from orchestrator.report.layouts.outcomes import TOO_CHEAP
from orchestrator.report.pages import explorer
from orchestrator.report.pages.page import PageContent, page
from orchestrator.stats.outcomes.curves import Curve, fine_confidence
from orchestrator.sweep.grid import Sweep

Load = Callable[[str], Sweep]


def limits_by_loops(scores: np.ndarray, twentieths: int) -> list[float]:
    """The confidence from which an image leaves at each prediction, of held-out ``scores`` [L, N]."""
    predictions, images = scores.shape
    ratio = Fraction(twentieths, 20)
    parts = [ratio**k for k in range(1, predictions + 1)]
    limits, left = [], set()
    for k in range(predictions - 1):
        wanted = int(images * parts[k] / sum(parts))
        there = sorted((scores[k, i] for i in range(images) if i not in left), reverse=True)
        limits.append(there[wanted - 1] if 1 <= wanted <= len(there) else np.inf)
        left |= {i for i in range(images) if i not in left and scores[k, i] >= limits[k]}
    return [*limits, -np.inf]


def exits_by_loops(test: Outcomes, validation: Outcomes | None, twentieths: int) -> list[int]:
    scores, images = fine_confidence(test), len(test.labels)
    if validation is not None:
        by_fold = [limits_by_loops(fine_confidence(validation), twentieths)] * 2
    else:
        by_fold = [limits_by_loops(scores[:, 1 - fold :: 2], twentieths) for fold in range(2)]
    return [next(k for k in range(len(scores)) if scores[k, i] >= by_fold[i % 2][k]) for i in range(images)]


def settings_by_loops(splits: Mapping[str, Outcomes]) -> list[dict[str, Any]]:
    """From the setting at which all leave at the first prediction to that at which all stay to the last."""
    test, validation = splits["test"], splits.get("validation")
    last, images = len(test.costs) - 1, len(test.labels)
    inner = [exits_by_loops(test, validation, p) for p in range(1, 40)]
    found = []
    for exits in [[0] * images, *inner, [last] * images]:
        answers = [(int(test.labels[i]), int(test.classes[k, i])) for i, k in enumerate(exits)]
        mistakes = Counter(pair for pair in answers if pair[0] != pair[1])
        found.append(
            {
                "cost": 100 * fmean(test.costs[k] / test.costs[-1] for k in exits),
                "error": 100 * mistakes.total() / images,
                "left": [exits.count(k) / images for k in range(last + 1)],
                "mistakes": mistakes,
            }
        )
    return found


def straight(points: Sequence[tuple[float, float]], x: float) -> float:
    """The height at ``x`` of straight lines through points (x, y); where several have this x, of the last."""
    points = sorted(points, key=lambda point: point[0])
    left, right = [p for p in points if p[0] <= x][-1], next((p for p in points if p[0] > x), points[-1])
    return left[1] if left[0] == x else left[1] + (right[1] - left[1]) * (x - left[0]) / (right[0] - left[0])


def budgets_by_loops(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Mean costs of the settings and quarters, from what is shown to what it stands for."""
    means = sorted(fmean(seed["cost"] for seed in each) for each in zip(*seeds, strict=True))
    quarters = [quarter for quarter in (25.0, 50.0, 75.0) if quarter >= means[0]]
    return {f"{budget:.2f}": budget for budget in [*means, *quarters]}


def line_of(content: Mapping[str, Any], **place: str) -> dict[str, Any]:
    (found,) = (line for line in content["lines"] if place.items() <= line.items())
    return found


@pytest.mark.parametrize("validation", [0, 100])
def test_each_budget_is_what_a_count_image_by_image_gives(load_text: Load, validation: int) -> None:
    sweep = load_text(sweep_text(validation=validation))
    kept = drawn_for(sweep, images=61)
    content = explorer.content(tables_with(sweep, kept.__getitem__))
    assert len(content["lines"]) == 4  # two networks, two methods; optima are trained for one depth alone
    for line in content["lines"]:
        place = (line["network"], line["method"])
        trials = [kept[i] for cell, i in sweep.cells.items() if (cell.network, cell.method) == place]
        seeds = [settings_by_loops(splits) for splits in trials]
        budgets = budgets_by_loops(seeds)
        assert [f"{cost:.2f}" for cost in line["costs"]] == sorted(budgets, key=float)
        for index, cost in enumerate(line["costs"]):
            check_budget({name: line[name][index] for name in BY_BUDGET}, seeds, budgets[f"{cost:.2f}"])


BY_BUDGET = ("errors", "spreads", "left", "mistakes")


def check_budget(shown: Mapping[str, Any], seeds: Sequence[Sequence[Mapping[str, Any]]], budget: float) -> None:
    """Each seed is read off its own curve; its mistakes are those of its nearest setting."""
    errors = [straight([(s["cost"], s["error"]) for s in settings], budget) for settings in seeds]
    assert (shown["errors"], shown["spreads"]) == pytest.approx((fmean(errors), stdev(errors)), abs=0.0051)
    for k in range(len(shown["left"])):
        left = [straight([(s["cost"], sum(s["left"][: k + 1])) for s in settings], budget) for settings in seeds]
        assert sum(shown["left"][: k + 1]) == pytest.approx(1000 * fmean(left), abs=0.51)
    nearest = [min(reversed(settings), key=lambda s: round(abs(s["cost"] - budget), 7)) for settings in seeds]
    ranked = sorted(sum((s["mistakes"] for s in nearest), Counter()).items(), key=lambda item: (-item[1], item[0]))
    assert shown["mistakes"] == [[*pair, count] for pair, count in ranked[:5]]


def test_shares_are_whole_tenths_of_a_percent_of_which_none_is_lost(load_text: Load) -> None:
    sweep = load_text(sweep_text())
    for line in explorer.content(tables_with(sweep, drawn_for(sweep).__getitem__))["lines"]:
        assert {sum(left) for left in line["left"]} == {1000}
        assert min(map(min, line["left"])) == 0
        assert (line["at"][-1], line["costs"][0], line["costs"][-1]) == (100, line["at"][0], 100)


@pytest.mark.parametrize("seeds", ["[0]", "[0, 1]", "[0, 1, 2]"])
def test_at_quarters_of_the_cost_it_says_what_the_table_says(load_text: Load, seeds: str) -> None:
    """Of networks whose first prediction is past 1/4 of the cost, and before."""
    sweep = load_text(sweep_text(seeds=seeds, report="{tables: [budgeted]}"))
    tables = tables_with(sweep, drawn_for(sweep).__getitem__)
    content = explorer.content(tables)
    (table,) = layouts.arrange(tables)
    for network, method, *quarters, _, _ in table.rows:
        line = line_of(content, network=network.value, method=method.value)
        for cost, entry in zip((25.0, 50.0, 75.0), quarters, strict=True):
            assert (cost in line["costs"]) == (entry.value is not None)
            if cost in line["costs"]:
                place = line["costs"].index(cost)
                assert line["errors"][place] == pytest.approx(100 - entry.value, abs=0.0051)
                spread = line["spreads"] and line["spreads"][place]
                assert spread == (entry.spread and pytest.approx(entry.spread, abs=0.0051))


def test_a_spread_is_of_seeds_at_one_cost_and_not_at_one_setting(load_text: Load) -> None:
    """Two seeds on the same curve, which the same settings take to other places of it, do not spread at all."""

    def seed(middle: float) -> explorer.AtSettings:
        costs = np.array([0.2, middle, 1.0])
        none = (np.array([], np.uint32), np.array([], np.uint32))
        curve = Curve(settings=costs, costs=costs, accuracies=100 * costs)
        left = np.stack([1 - costs, costs], axis=1)
        return explorer.AtSettings(images=10, at=costs[[0, 2]], curve=curve, left=left, mistakes=(none,) * 3)

    line = explorer._averaged([seed(0.4), seed(0.8)])
    assert line["costs"] == [20.0, 25.0, 50.0, 60.0, 75.0, 100.0]
    assert line["errors"] == [80.0, 75.0, 50.0, 40.0, 25.0, 0.0]
    assert line["spreads"] == [0.0] * 6


def test_networks_of_one_prediction_are_left_out_and_counted(load_text: Load) -> None:
    single = sweep_text().replace("{n: 1, c: 2}", "{n: 1, c: 2, period: 3}")
    sweep = load_text(single)
    content = explorer.content(tables_with(sweep, drawn_for(sweep).__getitem__))
    assert [(line["network"], line["method"]) for line in content["lines"]] == [("(2,2)", "ann"), ("(2,2)", "aann")]
    assert any("their one prediction: 2 of 4 networks" in note for note in content["notes"])
    assert not any("lack of outcomes" in note for note in content["notes"])


def test_where_no_network_predicts_twice_there_is_nothing_to_explore(load_text: Load) -> None:
    single = sweep_text().replace("{n: 1, c: 2}, {n: 2, c: 2}", "{n: 1, c: 2, period: 3}")
    sweep = load_text(single)
    assert explorer.content(tables_with(sweep, drawn_for(sweep).__getitem__)) == {}
    asked = load_text(single.replace("report: {}", "report: {explorer: true}"))
    notes = explorer.content(tables_with(asked, drawn_for(asked).__getitem__))["notes"]
    assert notes == ["No network has more than one prediction: there is nothing to explore."]


def test_without_scripts_there_is_a_line_for_each_choice(load_text: Load) -> None:
    sweep = load_text(sweep_text())
    content = explorer.content(tables_with(sweep, drawn_for(sweep).__getitem__))
    table = explorer.in_short(content["lines"])
    assert [column.name for column in table.columns] == ["data set", "network", "method", "1/4", "1/2", "3/4", "all"]
    assert [[entry.value for entry in row[:3]] for row in table.rows] == [
        [line[name] for name in ("dataset", "network", "method")] for line in content["lines"]
    ]
    for row, line in zip(table.rows, content["lines"], strict=True):
        assert (row[6].value, row[6].spread) == (line["errors"][-1], line["spreads"][-1])
        assert (row[4].value, row[4].spread) == tuple(line[name][line["costs"].index(50)] for name in BY_BUDGET[:2])
    assert {row[1].value: row[3].value is None for row in table.rows} == {"(1,2)": True, "(2,2)": False}
    assert table.notes == (TOO_CHEAP,)
    (shown,) = re.findall(
        "<noscript>(.*?)</noscript>",
        page(PageContent(title="p", explorer=content, made="now", command="it")),
        re.DOTALL,
    )
    assert shown.count("<tr") == 1 + 4


def test_lines_without_outcomes_are_left_out_and_counted(load_text: Load) -> None:
    """One seed that has some is enough for a line."""
    sweep = load_text(sweep_text())
    kept = drawn_for(sweep)
    for cell, trial_id in sweep.cells.items():
        if (cell.network, cell.method) == ("(1,2)", "ann") or (cell.method, cell.seed) == ("aann", 1):
            kept[trial_id] = {}
    content = explorer.content(tables_with(sweep, kept.__getitem__))
    places = [(line["network"], line["method"], line["seeds"], line["of"]) for line in content["lines"]]
    assert sorted(places) == [("(1,2)", "aann", 1, 2), ("(2,2)", "aann", 1, 2), ("(2,2)", "ann", 2, 2)]
    assert line_of(content, network="(2,2)", method="aann")["spreads"] is None
    assert any("Left out for lack of outcomes: 1 of 4 networks" in note for note in content["notes"])


def test_without_outcomes_there_is_none_and_who_asks_is_told_why(load_text: Load) -> None:
    content = explorer.content(tables_with(load_text(sweep_text()), lambda trial_id: {}))
    assert content == {}
    asked = load_text(sweep_text(report="{explorer: true}"))
    content = explorer.content(tables_with(asked, lambda trial_id: {}))
    assert content["notes"] == [
        "No trial has outcomes. `orchestrate outcomes` keeps those of trials that ended without."
    ]
    text = page(PageContent(title="p", explorer=content, made="now", command="it"))
    assert "No trial has outcomes." in text
    assert "<select" not in text


def test_a_single_image_has_no_thresholds(load_text: Load) -> None:
    sweep = load_text(sweep_text())
    assert explorer.content(tables_with(sweep, drawn_for(sweep, images=1).__getitem__)) == {}
    held_out = load_text(sweep_text(validation=100))
    assert explorer.content(tables_with(held_out, drawn_for(held_out, images=1).__getitem__))["lines"]


def test_outcomes_are_read_of_few_trials_or_where_that_is_asked_for(load_text: Load, monkeypatch) -> None:
    def reads(report: str) -> set[str]:
        read: set[str] = set()
        sweep = load_text(sweep_text(report=report))
        explorer.content(tables_with(sweep, lambda trial_id: read.add(trial_id) or {}))
        return read

    assert len(reads("{}")) == 8  # those for all depths
    assert reads("{explorer: false}") == set()
    monkeypatch.setattr(explorer, "MOST_TRIALS", 7)
    assert reads("{}") == set()
    assert len(reads("{explorer: yes}")) == 8


def test_outcomes_are_read_once_for_the_tables_and_the_explorer(load_text: Load) -> None:
    reads: Counter[str] = Counter()
    sweep = load_text(sweep_text(report="{tables: [budgeted, classes]}"))
    kept = drawn_for(sweep)

    def outcomes(trial_id: str) -> Mapping[str, Outcomes]:
        reads[trial_id] += 1
        return kept[trial_id]

    tables = tables_with(sweep, outcomes)
    layouts.arrange(tables)
    assert explorer.content(tables)["lines"]
    assert set(reads.values()) == {1}


def test_no_identity_depends_on_it(load_text: Load) -> None:
    plain, asked = load_text(sweep_text()), load_text(sweep_text(report="{explorer: false}"))
    assert [trial.id for trial in plain.trials] == [trial.id for trial in asked.trials]


def embedded(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="explored">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def test_what_the_page_embeds_is_what_there_is_whatever_names_say(load_text: Load) -> None:
    sweep = load_text(sweep_text())
    content = explorer.content(tables_with(sweep, drawn_for(sweep).__getitem__))
    evil = "</script><!--<script>\u2028\u202e&\"'"
    content["lines"][0]["method"] = evil
    content["classes"]["digits"][0] = evil
    text = page(PageContent(title="p", explorer=content, made="now", command="it"))
    assert embedded(text) == content
    assert evil not in text
    assert text.count("<script") == 2


def test_a_page_of_table_6_stays_small(load_text: Load) -> None:
    """234 lines, if each had 51 predictions."""
    text = sweep_text(seeds="[0]").replace("{n: 1, c: 2}, {n: 2, c: 2}", "{n: 17, c: 2}")
    sweep = load_text(text)
    content = explorer.content(tables_with(sweep, drawn_for(sweep, images=2000).__getitem__))
    sizes = [len(json.dumps(line, separators=(",", ":"))) for line in content["lines"]]
    assert len(content["lines"][0]["at"]) == 51
    assert 234 * fmean(sizes) < 3e6
    many = {"lines": content["lines"] * (234 // len(sizes)), "classes": content["classes"], "notes": []}
    assert len(page(PageContent(title="p", explorer=many, made="now", command="it"))) < 3.3e6
