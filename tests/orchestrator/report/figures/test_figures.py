"""Figures show what a patient reader would plot from the records by hand, and say what they lack."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev

import pytest

from anytime_core.cost import costs_at
from orchestrator.analysis.curves import Curve, Panel, nothing
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import figures as panels
from orchestrator.report.figures import curves, drawing
from orchestrator.report.figures.compared import MOST_METHODS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, Trial
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[4] / "sweeps"
PAIR = """\
name: pair
networks: [{n: 1, c: 8}, {n: 2, c: 8}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1/2, 1]}}
seeds: [0, 1, 2]
training: {steps: 44, batch_size: 64}
"""
PERIODS = """\
name: periods
networks: [{n: 2, c: 8}, {n: 2, c: 8, period: 4}, {n: 3, c: 8}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 44, batch_size: 64}
"""
BIG = """\
name: big
networks: [{n: 1, c: 2}, {n: 1, c: 3}, {n: 1, c: 4}, {n: 1, c: 5}, {n: 1, c: 6}, {n: 1, c: 7}]
datasets: [digits, cifar10, fashion_mnist]
methods: {aann: {strategy: aann}, exp3: {strategy: exp3}, rwm: {strategy: rwm}}
training: {steps: 44, batch_size: 64}
report: {baseline: aann}
"""
DECIDES = f"""{PAIR}decide: {{compare: [aann > ann at AE], first: 2}}
"""
ALL_AT_ONCE = ["profiles", "matrix", "strengths", "ranks"]

Picked = Callable[[Cell], bool]


def none(cell: Cell) -> bool:
    return False


def error(cell: Cell, unit: int) -> float:
    """A made-up error that falls with depth; no two alike."""
    method = {"ann": 0.0, "aann": 1.5, "opt": -3.0}.get(cell.method, 2.25)
    return 70 / (cell.n * unit) + 10 + method + 0.25 * cell.seed**2 + cell.period / 8


@pytest.fixture
def fill(ledger, make_record, make_epochs) -> Callable[..., Ledger]:
    """Ends the trials of a sweep, but those that are ``lost``; those that ``diverged`` without errors."""

    def filled(sweep: Sweep, lost: Picked = none, diverged: Picked = none) -> Ledger:
        for trial in sweep.trials:
            if not lost(trial.cell):
                finish(ledger, trial, make_record, make_epochs, diverged(trial.cell))
        return ledger

    return filled


def finish(ledger: Ledger, trial: Trial, make_record, make_epochs, diverged: bool = False) -> None:
    units = trial.config.predicting_units
    record = make_record(trial, None if diverged else tuple(error(trial.cell, unit) for unit in units))
    share = tuple((index + 1) / (len(units) * (len(units) + 1) / 2) for index in range(len(units)))
    attempt = ledger.begin(trial)
    epochs = make_epochs(3, len(units), probabilities=share if trial.cell.method not in ("ann", "opt") else ())
    ledger.write_epochs(attempt, units, record.result.costs, epochs)
    ledger.finish(attempt, record)


def shown(name: str, sweep: Sweep, ledger: Ledger) -> dict[str, Panel]:
    return {panel.title: panel for panel in panels.panels(name, sweep, ledger)}


def curve(panel: Panel, label: str) -> Curve:
    (found,) = [curve for curve in panel.curves if curve.label == label]
    return found


def cells(sweep: Sweep, **place: object) -> list[Cell]:
    return [cell for cell in sweep.cells if all(getattr(cell, key) == value for key, value in place.items())]


def costs(n: int, units: Iterable[int], c: int = 8) -> list[int]:
    return costs_at(n, c, list(units), num_classes=10, in_channels=1, image_size=8)


# Numbers


def test_errors_against_units_are_means_over_seeds_with_their_spread(load_text, fill) -> None:
    sweep = load_text(PAIR)
    found = shown("units", sweep, fill(sweep))
    assert list(found) == ["digits (1,8)", "digits (2,8)"]
    ann = curve(found["digits (2,8)"], "ann")
    by_unit = [[error(cell, unit) for cell in cells(sweep, n=2, method="ann")] for unit in range(1, 7)]
    assert ann.x == (1, 2, 3, 4, 5, 6)
    assert ann.y == pytest.approx([fmean(errors) for errors in by_unit])
    assert ann.spread == pytest.approx([stdev(errors) for errors in by_unit])
    assert not ann.reference


def test_an_optimum_has_a_point_for_each_depth_it_was_trained_for(load_text, fill) -> None:
    sweep = load_text(PAIR)
    opt = curve(shown("units", sweep, fill(sweep))["digits (2,8)"], "opt")
    assert opt.x == (3, 6)
    assert opt.reference
    assert opt.y[0] == pytest.approx(fmean(error(cell, 3) for cell in cells(sweep, n=2, unit=3)))


def test_one_seed_has_no_spread(load_text, fill) -> None:
    sweep = load_text(PERIODS)
    assert all(curve.spread == () for panel in panels.panels("units", sweep, fill(sweep)) for curve in panel.curves)


def test_costs_are_parts_of_the_whole_network_with_all_of_its_heads(load_text, fill) -> None:
    sweep = load_text(PAIR)
    ledger = fill(sweep)
    panel = shown("cost", sweep, ledger)["digits (2,8)"]
    whole = costs(2, range(1, 7))
    assert panel.full_cost == whole[-1]
    assert curve(panel, "ann").x == pytest.approx([cost / whole[-1] for cost in whole])
    assert curve(panel, "opt").x == pytest.approx([costs(2, [unit])[0] / whole[-1] for unit in (3, 6)])
    assert curve(panel, "ann").y == curve(shown("units", sweep, ledger)["digits (2,8)"], "ann").y


def test_the_zoom_shows_the_last_four_predictions(load_text, fill) -> None:
    sweep = load_text(PAIR)
    found = shown("last_units", sweep, fill(sweep))
    assert list(found) == ["digits (2,8)"]  # the other has three predictions
    assert curve(found["digits (2,8)"], "ann").x == (3, 4, 5, 6)
    assert found["digits (2,8)"].y_top is None


def test_the_zoom_ends_at_twice_the_least_error_and_names_what_is_above(
    load_text, ledger, make_record, make_epochs
) -> None:
    sweep = load_text(PAIR)
    for trial in sweep.trials:
        factor = 3.0 if trial.cell.method == "aann" else 1.0
        record = make_record(trial, tuple(factor * (11 - unit) for unit in trial.config.predicting_units))
        ledger.finish(ledger.begin(trial), record)
    panel = shown("last_units", sweep, ledger)["digits (2,8)"]
    assert panel.y_top == 10.0  # twice the error of 5 %
    assert panel.notes == ("above the axis: aann",)


def test_training_losses_are_those_of_the_last_epoch(load_text, fill, make_epochs) -> None:
    sweep = load_text(PAIR)
    panel = shown("train_loss", sweep, fill(sweep))["digits (1,8)"]
    assert curve(panel, "aann").y == make_epochs(3, 3)[-1].train_loss
    assert curve(panel, "opt").y == make_epochs(3, 1)[-1].train_loss * 2


def test_a_sequence_pays_for_all_of_its_members_and_opt_plus_for_one(load_text, fill) -> None:
    sweep = load_text(PAIR.replace("[0, 1, 2]", "[0]"))
    panel = shown("sequence", sweep, fill(sweep))["digits, c = 8, n = 1, 2"]
    first, second = costs(1, range(1, 4)), costs(2, range(1, 7))
    (small,), (large,) = (cells(sweep, n=n, method="aann") for n in (1, 2))
    by_hand = [(cost, error(small, unit)) for unit, cost in enumerate(first, 1)]
    by_hand += [(first[-1] + cost, error(large, unit)) for unit, cost in enumerate(second, 1) if cost > first[-1]]
    assert curve(panel, "EANN").x == pytest.approx([cost / second[-1] for cost, _ in by_hand])
    assert curve(panel, "EANN").y == tuple(error for _, error in by_hand)
    shorter = [x / (0.75 + 1 + math.log(2)) for x in curve(panel, "EANN").x]  # E[C] at b = 2
    assert curve(panel, "EANN, costs / E[C]").x == pytest.approx(shorter)
    optima = sorted((costs(cell.n, [cell.unit])[0], error(cell, cell.unit)) for cell in cells(sweep, method="opt"))
    least = [min(error for _, error in optima[: place + 1]) for place in range(len(optima))]
    assert curve(panel, "OPT+").x == pytest.approx([cost / second[-1] for cost, _ in optima])
    assert curve(panel, "OPT+").y == tuple(least)


def test_a_sequence_leaves_out_networks_of_about_one_depth() -> None:
    titles = [panel.title for panel in curves.sequence(nothing(load(SWEEPS / "table6.yaml")))]
    assert "svhn, c = 32, n = 7, 13, 25" in titles
    assert not any("c = 64" in title or "c = 128" in title for title in titles)


def test_a_sequence_with_a_lost_member_is_left_out_for_that_seed(load_text, fill) -> None:
    sweep = load_text(PAIR)
    ledger = fill(sweep, lost=lambda cell: cell.method == "aann" and cell.n == 1 and cell.seed == 2)
    (panel,) = panels.panels("sequence", sweep, ledger)
    assert curve(panel, "EANN").y[0] == pytest.approx(fmean(error(c, 1) for c in cells(sweep, n=1, method="aann")[:2]))
    assert panel.notes == ("1 of 18 trials missing: aann",)


def test_the_sieve_of_fifteen_predictions_is_the_papers() -> None:
    sweep = load(SWEEPS / "table1.yaml")
    found = {panel.title: panel for panel in curves.weights(nothing(sweep))}
    (sieve,) = found["sieve, 15 predictions"].curves
    assert sieve.x == tuple(range(1, 16))
    assert [round(50 * weight) for weight in sieve.y] == [2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1, 25]
    assert len(found) == 6


def test_each_period_has_its_own_steps(load_text, fill) -> None:
    sweep = load_text(PERIODS)
    (panel,) = panels.panels("periods", sweep, fill(sweep))
    assert panel.title == "digits, n = 2, c = 8"
    assert [curve.label for curve in panel.curves] == ["period 1", "period 4"]
    (cell,) = cells(sweep, period=4)
    assert curve(panel, "period 4").y == (error(cell, 2), error(cell, 6))
    assert curve(panel, "period 4").x == pytest.approx([cost / costs(2, range(1, 7))[-1] for cost in costs(2, [2, 6])])


def test_probabilities_are_stacked_over_epochs(load_text, fill) -> None:
    sweep = load_text(PAIR)
    found = shown("choices", sweep, fill(sweep))
    assert list(found) == ["aann, digits (1,8)", "aann, digits (2,8)"]  # nothing chooses for ann and opt
    panel = found["aann, digits (1,8)"]
    assert [curve.label for curve in panel.curves] == ["1", "2", "3"]
    assert [curve.x for curve in panel.curves] == [(1, 2, 3)] * 3
    assert [curve.y for curve in panel.curves] == [pytest.approx([share / 6] * 3) for share in (1, 2, 3)]
    assert panel.notes == ("mean of 3 seeds",)


def test_errors_on_held_out_images_are_called_so() -> None:
    labels = {
        sweep: {panel.y_label for panel in curves.units(nothing(load(SWEEPS / f"{sweep}.yaml")))}
        for sweep in ("table1", "table4")
    }
    assert labels == {"table1": {"validation error (%)"}, "table4": {"test error (%)"}}


# What is missing


@pytest.mark.parametrize("name", ["units", "cost", "train_loss"])
def test_missing_trials_are_counted_and_named(load_text, fill, name: str) -> None:
    sweep = load_text(PAIR)
    ledger = fill(
        sweep,
        lost=lambda cell: cell.n == 2 and cell.method == "ann",
        diverged=lambda cell: cell.n == 2 and cell.method == "aann" and cell.seed == 1,
    )
    found = shown(name, sweep, ledger)
    assert found["digits (1,8)"].notes == ()
    assert found["digits (2,8)"].notes == ("4 of 12 trials missing: ann, aann (1 diverged)",)
    assert [curve.label for curve in found["digits (2,8)"].curves] == ["aann", "opt"]
    assert "4 of 12 trials missing" in drawing.as_svg(drawing.draw(name, sweep, ledger)[name])


def test_a_point_of_one_seed_among_others_has_no_spread(load_text, fill) -> None:
    sweep = load_text(PAIR)
    ledger = fill(sweep, lost=lambda cell: cell.unit == 3 and cell.n == 2 and cell.seed > 0)
    opt = curve(shown("units", sweep, ledger)["digits (2,8)"], "opt")
    assert math.isnan(opt.spread[0])
    assert opt.spread[1] > 0


def test_lost_metrics_are_missing_training_losses(load_text, fill) -> None:
    sweep = load_text(PERIODS)
    ledger = fill(sweep)
    (ledger.folder(sweep.trials[0].id) / "metrics.parquet").unlink()
    panel = shown("train_loss", sweep, ledger)["digits (2,8)"]
    assert panel.curves == ()
    assert panel.notes == ("1 of 1 trials missing: ann",)


def test_before_anything_has_run_there_is_a_reason_and_no_figure(load_text, ledger) -> None:
    sweep = load_text(PAIR)
    assert drawing.draw("units", sweep, ledger) == {}
    assert drawing.reason("units", sweep, ledger) == "none of its trials has results yet"
    assert list(drawing.draw("weights", sweep, ledger)) == ["weights"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("periods", PAIR, "no network has two periods"),
        ("choices", PERIODS, "no method chooses losses to amplify"),
        ("sequence", PERIODS, "it lacks networks of one width"),
        ("last_units", BIG, "no network has more than 4 predictions"),
    ],
)
def test_a_figure_that_a_sweep_cannot_have_has_a_reason(load_text, fill, name: str, text: str, reason: str) -> None:
    sweep = load_text(text)
    ledger = fill(sweep)
    assert drawing.reason(name, sweep, ledger).startswith(reason)
    assert drawing.draw(name, sweep, ledger) == {}
    assert name not in drawing.suited(sweep)


def test_more_methods_than_can_be_told_apart_are_refused() -> None:
    sweep = load(SWEEPS / "select_exp3.yaml")
    assert drawing.suited(sweep) == ["weights"]


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("table1", ["units", "last_units", "cost", "train_loss", "weights", *ALL_AT_ONCE]),
        ("table4", ["units", "last_units", "cost", "train_loss", "weights", "periods"]),
        ("figure4", ["units", "last_units", "cost", "train_loss", "weights", "choices"]),
        ("eann", ["units", "last_units", "cost", "train_loss", "sequence", "weights", "choices"]),
    ],
)
def test_the_papers_sweeps_suit_the_papers_figures(sweep: str, expected: list[str]) -> None:
    assert drawing.suited(load(SWEEPS / f"{sweep}.yaml")) == expected


def test_an_unknown_name_is_refused_with_those_allowed(load_text, ledger) -> None:
    with pytest.raises(ValueError, match=r"no figure is named 'pie'; allowed: units, .*choices"):
        drawing.draw("pie", load_text(PAIR), ledger)


# Pages and files


OF_OUTCOMES = {name for name, kind in drawing.FIGURES.items() if kind.takes}
TEXTS: Mapping[str, str] = (
    dict.fromkeys(drawing.FIGURES, PAIR) | {"periods": PERIODS, "decisions": DECIDES} | dict.fromkeys(ALL_AT_ONCE, BIG)
)
LABELS = {
    "units": ["units", "test error (%)", "ann", "opt"],
    "last_units": ["units", "test error (%)"],
    "cost": ["cost / full cost", "multiply-adds (millions)", "test error (%)", "± s.d. over seeds"],
    "train_loss": ["cost / full cost", "training cross-entropy (nats)"],
    "sequence": ["cost / cost of the deepest", "test error (%)", "EANN", "OPT+"],
    "weights": ["prediction", "loss weight (sum 1)", "sieve, 6 predictions"],
    "periods": ["cost / full cost", "test error (%)", "period 4"],
    "choices": ["epoch", "probability of choice", "prediction", "mean of 3 seeds"],
    "profiles": ["share of cells", "error above that of aann (%)", "exp3", "95 % of resamples", "mean error (AE)"],
    "matrix": ["error at 1/2 of the cost", "exp3", "0/18/0", "p 1.000"],
    "strengths": ["wins against aann (%)", "18 cells, seeds averaged"],
    "decisions": ["pairs compared", "e-value / what decides", "aann > ann at AE", "decided"],
    "ranks": ["mean rank, 1 the best", "critical difference 0.78"],
}


def test_every_figure_is_looked_at_here_or_with_outcomes() -> None:
    assert LABELS.keys() | OF_OUTCOMES == drawing.FIGURES.keys()


@pytest.mark.parametrize("name", LABELS)
def test_every_figure_is_a_sound_file_with_labelled_axes(load_text, fill, tmp_path, name: str) -> None:
    sweep = load_text(TEXTS[name])
    ledger = fill(sweep)
    png, svg = drawing.save(drawing.draw(name, chosen(sweep, ledger), ledger), tmp_path / "figures")
    assert (png.name, svg.name) == (f"{name}.png", f"{name}.svg")
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    texts = {"".join(element.itertext()) for element in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {*LABELS[name]} <= texts
    assert sorted(tmp_path.glob("figures/*")) == [png, svg]  # no other file is left behind


@pytest.mark.parametrize("name", ["cost", "choices"])
def test_the_same_ledger_gives_the_same_bytes(load_text, fill, tmp_path, monkeypatch, name: str) -> None:
    sweep = load_text(PAIR)
    ledger = fill(sweep)
    drawn = drawing.draw(name, sweep, ledger)
    once = [path.read_bytes() for path in drawing.save(drawn, tmp_path)]
    again = [path.read_bytes() for path in drawing.save(drawn, tmp_path)]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    anew = [path.read_bytes() for path in drawing.save(drawing.draw(name, sweep, ledger), tmp_path)]
    assert once == again == anew


def test_the_users_own_style_changes_nothing(load_text, fill) -> None:
    import matplotlib

    sweep = load_text(PAIR)
    ledger = fill(sweep)
    before = drawing.as_svg(drawing.draw("cost", sweep, ledger)["cost"])
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert drawing.as_svg(drawing.draw("cost", sweep, ledger)["cost"]) == before
        assert matplotlib.rcParams["font.size"] == 30


def test_an_embedded_svg_is_one_element_on_white(load_text, fill) -> None:
    sweep = load_text(PAIR)
    text = drawing.as_svg(drawing.draw("units", sweep, fill(sweep))["units"])
    assert text.startswith("<svg ")
    root = ET.fromstring(text)
    background = root.find(".//{*}g[@id='patch_1']/{*}path")
    assert "fill: #ffffff" in background.attrib["style"]


def test_an_unknown_format_is_refused_before_anything_is_written(load_text, ledger, tmp_path) -> None:
    drawn = drawing.draw("weights", load_text(PAIR), ledger)
    with pytest.raises(ValueError, match="no format is named gif; allowed: png, svg"):
        drawing.save(drawn, tmp_path / "figures", ["png", "gif"])
    assert not (tmp_path / "figures").exists()


def test_many_panels_are_split_by_data_set_and_networks_stay_together(load_text) -> None:
    choices = curves.choices(nothing(load_text(BIG)))
    pages = drawing.pages("choices", choices)
    datasets = ["cifar10", "digits", "fashion_mnist"]
    assert [*pages] == [f"choices-{dataset}-{number}" for dataset in datasets for number in (1, 2)]
    assert [len(page) for page in pages.values()] == [9] * 6  # three networks, three strategies
    assert sorted(map(id, choices)) == sorted(id(panel) for page in pages.values() for panel in page)


def test_the_papers_table_6_takes_a_page_for_each_data_set() -> None:
    found = curves.cost(nothing(load(SWEEPS / "table6.yaml")))
    pages = drawing.pages("cost", found)
    assert {stem: len(page) for stem, page in pages.items()} == {
        "cost-cifar10": 13,
        "cost-cifar100": 13,
        "cost-svhn": 13,
    }


def test_a_page_of_which_nothing_has_run_says_so(load_text, fill) -> None:
    sweep = load_text(BIG)
    drawn = drawing.draw("choices", sweep, fill(sweep, lost=lambda cell: cell.dataset != "digits"))
    assert "no results yet" in drawing.as_svg(drawn["choices-cifar10-1"])
    assert "no results yet" not in drawing.as_svg(drawn["choices-digits-1"])


def test_two_optima_do_not_look_alike() -> None:
    looks = drawing._looks([Curve(label=name, x=(1,), y=(1,), reference=True) for name in ("opt", "opt_all", "other")])
    assert {look.colour for look in looks.values()} == {"black"}
    assert len({look.dashes for look in looks.values()}) == len({look.marker for look in looks.values()}) == 3


def test_a_method_looks_alike_in_all_figures_of_a_sweep() -> None:
    methods = {"ann": False, "opt": True, "aann": False}
    alone = drawing._looks([Curve(label="aann", x=(1,), y=(1,))], methods)
    both = drawing._looks([Curve(label=name, x=(1,), y=(1,)) for name in ("aann", "ann")], methods)
    assert alone["aann"] == both["aann"] != both["ann"]


def test_no_two_methods_look_alike() -> None:
    looks = [drawing._look(place) for place in range(MOST_METHODS)]
    assert len({(look.colour, look.dashes) for look in looks}) == len(looks)


@pytest.mark.parametrize("name", ["units", "cost", "sequence", "choices", *ALL_AT_ONCE])
def test_no_text_is_cut_off(load_text, fill, name: str) -> None:
    sweep = load_text(TEXTS[name])
    (figure,) = drawing.draw(name, sweep, fill(sweep, lost=lambda cell: cell.seed == 2)).values()
    box = figure.get_tightbbox()  # in inches, of all that is drawn
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()


def test_naming_figures_needs_no_matplotlib() -> None:
    code = "import sys; import orchestrator.report.figures.drawing; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_least_of_two_optima_of_one_cost_counts() -> None:
    for errors in ((5.0, 3.0), (3.0, 5.0)):
        assert curves._best([(100.0, errors[0]), (100.0, errors[1]), (200.0, 4.0)]) == {100: 3.0, 200: 3.0}


def test_the_axis_ends_where_the_panel_does() -> None:
    line = Curve(label="a", x=(1, 2), y=(3.0, 30.0))
    panel = Panel(kind="lines", title="", x_label="", y_label="", curves=(line,), y_top=10.0)
    with drawing._style():
        (axes, *_) = drawing._page([panel], drawing._looks([line])).axes
    assert axes.get_ylim()[1] == 10.0


LONG = "exp3-all exploration=0.3 final_reward=0.8 gamma=0.5 mixing=0 warm_up_epochs=0"


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_long_names_are_wrapped_and_lie_over_nothing(count) -> None:
    """The names of methods are the user's, and those of grids grow with each parameter."""
    curves = tuple(Curve(label=f"{LONG} {name}", x=(0.0, 1.0), y=(1.0, 2.0)) for name in "abc")
    panels = [
        Panel(kind="lines", title=f"{LONG} ({n},8) digits", x_label="epoch", y_label="share", curves=curves)
        for n in range(count)
    ]
    ((_, figure),) = drawing.drawn("choices", panels).items()
    texts = [axes.title for axes in figure.axes if axes.get_title()] + list(figure.legends)
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == count + 1
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


DRAWN = (
    "import os, sys; from orchestrator.analysis.curves import *; from orchestrator.report.figures import drawing\n"
    "before = os.environ.get('MPLBACKEND'), os.environ.get('MATPLOTLIBRC')\n"
    "panel = Panel(kind='lines', title='t', x_label='x', y_label='y', curves=(Curve(label='a', x=(1,), y=(2,)),))\n"
    "sys.stdout.write(drawing.as_svg(drawing.drawn('cost', [panel])['cost'])); "
    "assert before == (os.environ.get('MPLBACKEND'), os.environ.get('MATPLOTLIBRC'))"
)


def drawn(folder: Path, variables: Mapping[str, str]) -> tuple[bytes, bytes]:
    """What a process with these variables for matplotlib, and no others, draws, and what it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    command, own = [sys.executable, "-c", DRAWN], clean | variables
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, timeout=60, check=True)
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return drawn(tmp_path_factory.mktemp("plain"), {})[0]


@pytest.mark.parametrize(
    "variables",
    [
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"MPLBACKEND": "nonsense"},
        {"MATPLOTLIBRC": "broken"},
        {"MPLCONFIGDIR": "/proc/none"},
        {"HOME": "/proc/none"},
    ],
)
def test_what_a_user_has_set_for_matplotlib_changes_nothing(variables, tmp_path, plain) -> None:
    (tmp_path / "broken").write_bytes(b"backend: \xff")
    assert drawn(tmp_path, variables) == (plain, b"")
