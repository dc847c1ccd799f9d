"""What a sweep file may say of a method's tuning, and which trials that is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[3] / "sweeps"

TEXT = """\
name: tuned
networks: [{n: 1, c: 2}]
datasets: [%s]
methods:
  ann: {}
  aann:
    strategy: aann
    tune: {%s}
seeds: [5, 6]
training: {steps: 44, batch_size: 64}
"""
GRID = "grid: {gamma: [0.25, 0.5, 1, 2]}"


@pytest.fixture
def tuned(load_text):
    def tuned(said: str = GRID, data: str = "digits") -> Sweep:
        return load_text(TEXT % (data, said))

    return tuned


def held_out(sweep: Sweep) -> dict[str, int]:
    return {trial.config.data.name: trial.config.data.validation for one in sweep.tuning for trial in one.trials}


def points(sweep: Sweep) -> list[str]:
    return [point.name for point in sweep.tuning[0].points]


def test_without_more_words_each_point_is_trained_with_the_first_seed_and_a_tenth_held_out(tuned) -> None:
    sweep = tuned("on: validation, " + GRID)
    assert points(sweep) == ["gamma=0.25", "gamma=0.5", "gamma=1", "gamma=2"]
    assert [trial.config.seed for trial in sweep.tuning[0].trials] == [5] * 4
    assert held_out(sweep) == {"digits": 143}
    labels = {trial.cell.label for trial in sweep.tuning[0].trials}
    assert "aann gamma=0.25 tuning (1,2) digits seed 5" in labels
    assert [cell.seed for cell in sweep.cells if cell.method == "aann"] == [5, 6]


def test_of_large_data_sets_as_many_are_held_out_as_in_the_paper(tuned) -> None:
    assert held_out(tuned(data="cifar10, svhn, digits")) == {"cifar10": 5000, "svhn": 5000, "digits": 143}
    assert held_out(tuned(GRID + ", validation: 77", "cifar10, digits")) == {"cifar10": 77, "digits": 77}


def test_points_are_drawn_the_same_each_time_and_a_further_value_replaces_few(tuned) -> None:
    values = [round(0.1 * index, 1) for index in range(1, 21)]
    few, again = (points(tuned(f"grid: {{gamma: {values}}}, points: 8")) for _ in range(2))
    assert few == again
    assert len(few) == 8
    assert few == [name for name in points(tuned(f"grid: {{gamma: {values}}}")) if name in few]
    more = points(tuned(f"grid: {{gamma: {[*values, 3]}}}, points: 8"))
    assert len(set(few) - set(more)) <= 1
    assert len(points(tuned(GRID + ", points: 8"))) == 4


def test_a_choice_for_all_is_one_of_all_networks_and_data_sets(tuned) -> None:
    one, each = (tuned(f"{GRID}, per: {per}", "digits, cifar10").tuning for per in ("method", "cell"))
    assert [tuning.where for tuning in one] == [""]
    assert [tuning.where for tuning in each] == ["(1,2) digits", "(1,2) cifar10"]
    assert {it.id for it in one[0].trials} == {it.id for tuning in each for it in tuning.trials}


def test_points_that_are_tried_on_a_smaller_network_are_chosen_for_all(tuned) -> None:
    own = GRID + ", networks: [{n: 2, c: 3}], per: "
    each, one = (tuned(own + per, "digits, cifar10").tuning for per in ("dataset", "method"))
    assert [tuning.where for tuning in each] == ["digits", "cifar10"]
    assert [tuning.where for tuning in one] == [""]
    assert {trial.cell.network for trial in one[0].trials} == {"(2,3)"}
    assert {cell.network for point in one[0].points for cell in point.results} == {"(1,2)"}
    assert len(one[0].trials) == sum(len(tuning.trials) for tuning in each) == 4 * 2


def test_one_line_of_a_sweep_stands_for_the_papers_selection_of_gamma(load_text) -> None:
    """With the very trials of `sweeps/select_gamma.yaml`."""
    line = "  aann: {strategy: aann, tune: {grid: {gamma: [0.25, 0.5, 1, 2]}, networks: [{n: 5, c: 16}], per: method}}"
    text, changed = re.subn(r"^  aann: .*$", line, (SWEEPS / "table6.yaml").read_text(), flags=re.M)
    text, less = re.subn(r"^  - \{name: svhn.*$", "", text, flags=re.M)
    assert (changed, less) == (1, 1)
    (tuning,) = load_text(text).tuning
    selection = load(SWEEPS / "select_gamma.yaml").trials
    assert {trial.id for trial in tuning.trials} == {it.id for it in selection if it.cell.method != "ann"}


@pytest.mark.parametrize(
    ("said", "data", "fault"),
    [
        ("grid: {gama: [1]}", "digits", "methods.aann: tune.grid: aann has no gama; allowed: gamma, warm_up_epochs"),
        ("grid: {gamma: [1, 1]}", "digits", "methods.aann: tune.grid: gamma holds one value twice"),
        ("grid: {gamma: [-1]}", "digits", "methods.aann: gamma is -1, must be at least 0"),
        ("grid: {}", "digits", "methods.aann.tune.grid: given {}; must have at least 1 item"),
        ("points: 3", "digits", "methods.aann.tune.grid: is missing"),
        (GRID + ", point: 3", "digits", "methods.aann.tune.point: unknown key; allowed: on, grid, points"),
        (GRID + ", points: 0", "digits", "methods.aann.tune.points: given 0; must be greater than or equal to 1"),
        (GRID + ", choose: loss", "digits", "tune.choose: given 'loss'; must be 'average_error' or 'error'"),
        (GRID + ", seeds: [1, 1]", "digits", "methods.aann.tune.seeds: [1, 1] holds one value twice"),
        (GRID + ", on: test", "digits", "methods.aann.tune: given 'test'; must be 'validation'"),
        (GRID + ", networks: [{n: 2, c: 3}]", "digits", "per must be dataset or method"),
        (GRID + ", networks: [{name: msdnet}], per: method", "digits", "no network is named 'msdnet'"),
        (GRID, "{name: digits, validation: 99}", "digits is evaluated on images for validation already"),
        (GRID + ", validation: 1400", "digits", "holding out 1400 of 1438 training images leaves 38 of digits"),
        (GRID + ", validation: 1500", "digits", "holding out 1500 of 1438 training images leaves 0 of digits"),
    ],
)
def test_a_fault_is_told_with_what_is_allowed(tuned, said, data, fault) -> None:
    with pytest.raises(SweepError) as error:
        tuned(said, data)
    assert fault in str(error.value)
    assert "line " in str(error.value)


def test_weights_by_network_have_a_list_for_each_network_that_points_are_tried_on(load_text) -> None:
    text = TEXT % ("digits", GRID + ", networks: [{n: 2, c: 3}], per: method")
    with pytest.raises(SweepError, match=r"weights\.values: has no list for \(2,3\), only for \(1,2\)"):
        load_text(text + 'weights: {values: {"1,2": [1, 1, 1]}}')
    assert load_text(text + 'weights: {values: {"1,2": [1, 1, 1], "2,3": [1, 1, 1, 1, 1, 1]}}').tuning


def test_a_method_has_a_grid_or_is_tuned(load_text) -> None:
    both = TEXT.replace("strategy: aann\n", "strategy: aann\n    grid: {gamma: [1]}\n") % ("digits", GRID)
    with pytest.raises(SweepError, match=r"methods\.aann: has a grid and tune; must have one of them"):
        load_text(both)


def test_all_faults_are_told_at_once(tuned) -> None:
    with pytest.raises(SweepError, match="3 faults"):
        tuned(GRID + ", points: 0, choose: loss, seeds: []")


# Whose parameters

OF_A_REGIME = "  mixed: {regime: mixed, %s}\n"
BOOSTED = "  boosted: {objective: {name: boosting%s}, answers: {name: boosting%s}%s}\n"


def ids(sweep: Sweep, method: str) -> set[str]:
    """Of the trials that stand in the tables."""
    return {trial_id for cell, trial_id in sweep.cells.items() if cell.method == method}


@pytest.fixture
def with_method(load_text):
    def loaded(line: str) -> Sweep:
        return load_text(TEXT.replace("seeds:", f"{line}seeds:") % ("digits", GRID))

    return loaded


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_a_grid_of_a_regime_has_the_trials_of_its_values_by_hand(with_method, share) -> None:
    grid = with_method(OF_A_REGIME % "grid: {share: [0, 0.25, 1]}")
    by_hand = with_method(OF_A_REGIME % f"share: {share}")
    assert ids(grid, f"mixed share={share}") == ids(by_hand, "mixed")


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_one_key_sets_what_several_parts_have(with_method, share) -> None:
    grid = with_method(BOOSTED % ("", "", ", grid: {share: [0, 0.25, 1]}"))
    by_hand = with_method(BOOSTED % (f", share: {share}", f", share: {share}", ""))
    assert ids(grid, f"boosted share={share}") == ids(by_hand, "boosted")
    alone = with_method(BOOSTED % ("", "", f", grid: {{objective.share: [{share}]}}"))
    by_hand = with_method(BOOSTED % (f", share: {share}", "", ""))
    assert ids(alone, f"boosted objective.share={share}") == ids(by_hand, "boosted")


@pytest.mark.parametrize(
    "line",
    [OF_A_REGIME % "tune: {grid: {share: [0.25, 0.5]}}", BOOSTED % ("", "", ", tune: {grid: {share: [0.25, 0.5]}}")],
)
def test_both_can_be_tuned(with_method, line) -> None:
    tuning = with_method(line).tuning[1]
    assert [point.name for point in tuning.points] == ["share=0.25", "share=0.5"]
    assert len({trial.id for trial in tuning.trials}) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            OF_A_REGIME % "tune: {grid: {shre: [1]}}",
            "methods.mixed: tune.grid: mixed has no shre; allowed: share",
        ),
        (OF_A_REGIME % "grid: {normalize: [1]}", "methods.mixed: grid: mixed has no normalize; allowed: share"),
        (OF_A_REGIME % "grid: {share: [0.5, 2]}", "methods.mixed: share is 2, must be between 0 and 1"),
        (
            OF_A_REGIME % "tune: {grid: {share: [1]}, point: 1}",
            "methods.mixed.tune.point: unknown key; allowed: on, grid",
        ),
        (
            OF_A_REGIME % "share: 0.5, grid: {share: [1]}, tune: {grid: {share: [1]}}",
            "methods.mixed: has a grid and tune",
        ),
        (
            BOOSTED % ("", "", ", grid: {share: [0], answers.share: [1]}"),
            "methods.boosted: grid: share and answers.share set the same; must have one of them",
        ),
        (
            BOOSTED % ("", "", ", grid: {gamma: [0]}"),
            "grid: the method has no gamma; allowed: share, objective.share, answers.share",
        ),
        ("  mid: {regime: midfeat, grid: {share: [1]}}\n", "methods.mid.grid: unknown key; allowed: regime"),
    ],
)
def test_a_parameter_that_is_not_there_is_told_with_those_that_are(with_method, line, fault) -> None:
    with pytest.raises(SweepError) as error:
        with_method(line)
    assert fault in str(error.value)


def test_a_rung_is_a_share_of_the_steps_whatever_the_regime(with_method) -> None:
    (_, mixed) = with_method(OF_A_REGIME % "tune: {grid: {share: [0, 0.5, 1]}, halving: true}").tuning
    assert [(rung.step, rung.keeps) for rung in mixed.rungs] == [(22, 2)]


def test_halving_is_yes_or_no(tuned) -> None:
    with pytest.raises(SweepError, match=r"methods\.aann\.tune\.halving: given 2; must be a valid boolean"):
        tuned(GRID + ", halving: 2")
