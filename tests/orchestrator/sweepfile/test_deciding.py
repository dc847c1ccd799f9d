"""What a sweep file may say of what it is to decide."""

from __future__ import annotations

import re

import pytest

from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep

TEXT = """\
name: decides
networks: [{n: 1, c: 2}, {n: 2, c: 2}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann, grid: {gamma: [1, 2]}}
  opt: {regime: opt}
training: {steps: 44, batch_size: 64}
%s
decide: {%s}
"""
SOUND = "compare: [aann gamma=1 > ann at 1/2], at_most: {seeds: 5}"


@pytest.fixture
def loaded(load_text):
    def loaded(said: str = SOUND, more: str = "") -> Sweep:
        return load_text(TEXT % (more, said))

    return loaded


def asked(sweep: Sweep) -> list[str]:
    return [str(comparison) for comparison in sweep.deciding.comparisons]


def test_without_more_words_three_seeds_come_first_at_5_percent(loaded) -> None:
    sweep = loaded()
    assert {cell.seed for cell in sweep.cells} == {0, 1, 2}
    assert {cell.seed for cell in sweep.whole.cells} == {0, 1, 2, 3, 4}
    assert (sweep.deciding.level, sweep.deciding.rope, sweep.deciding.at_most) == (0.05, 0.1, ())


def test_the_pool_is_the_seeds_of_the_file_in_their_order(loaded) -> None:
    said = "compare: [aann gamma=1 > ann at 1/2], first: 2"
    assert loaded(said, "seeds: [7, 3, 5]").deciding.seeds == (7, 3, 5)
    assert {cell.seed for cell in loaded(said, "seeds: [7, 3, 5]").cells} == {7, 3}
    assert loaded(f"{said}, at_most: {{seeds: 2}}", "seeds: [7, 3, 5]").deciding.seeds == (7, 3)


def test_all_stands_for_each_other_method_but_those_of_one_depth(loaded) -> None:
    sweep = loaded("compare: [all > ann at AE, aann gamma=1 > ann at AE], at_most: {seeds: 5}")
    assert asked(sweep) == ["aann gamma=1 > ann at AE", "aann gamma=2 > ann at AE"]


def test_hours_and_rope_are_taken_over(loaded) -> None:
    said = f"{SOUND[:-1]}, gpu_hours: 40, cpu_hours: 2.5}}, rope: 0.3, level: 0.01"
    deciding = loaded(said).deciding
    assert list(map(str, deciding.at_most)) == ["40 gpu-hours", "2.5 cpu-hours"]
    assert (deciding.rope, deciding.level) == (0.3, 0.01)
    assert loaded(SOUND, "report: {rope: 0.7}").deciding.rope == 0.7


def test_ids_are_those_of_the_same_sweep_with_its_seeds_written_out(loaded, load_text) -> None:
    plain = load_text(TEXT.replace("decide: {%s}\n", "") % "seeds: [0, 1, 2, 3, 4]")
    assert {trial.id for trial in loaded().whole.trials} == set(plain.ids)


def test_a_question_counts_once_however_its_place_is_spelt(loaded) -> None:
    said = "compare: [all > ann at AE, all > ann at AE on digits, 'all > ann at AE on DIGITS'], at_most: {seeds: 5}"
    assert asked(loaded(said)) == ["aann gamma=1 > ann at AE", "aann gamma=2 > ann at AE"]


def test_what_can_decide_nothing_or_limits_nothing_is_noted(loaded) -> None:
    said = "compare: ['aann gamma=1 > ann at AE on (1,2)'], at_most: {seeds: 4, gpu_hours: 3}"
    assert loaded(said).notes[:2] == (
        "decide: at_most: gpu_hours limits nothing: the sweep's trials use no GPU",
        "decide: aann gamma=1 > ann at AE on (1,2): winning all 4 pairs gives e 6.2, and 20 decides",
    )


def test_networks_that_do_not_reach_a_metric_are_left_out(loaded) -> None:
    """(1,2) has its first prediction after a quarter of the cost."""
    sweep = loaded("compare: [aann gamma=1 > ann at 1/4], at_most: {seeds: 5}")
    (one,) = sweep.deciding.comparisons
    assert [place.network for place in sweep.deciding.places(one)] == ["(2,2)"]


@pytest.mark.parametrize(
    ("said", "more", "line", "message"),
    [
        ("at_most: {seeds: 5}", "", 10, "decide.compare: is missing"),
        ("compare: [], at_most: {seeds: 5}", "", 10, "decide.compare: given []; must have at least 1 item"),
        ("compare: [aann beats ann], at_most: {seeds: 5}", "", 10, "decide.compare.0: given 'aann beats ann'; allowed"),
        (
            "compare: [all > ann at 1, all > ann at 1], at_most: {seeds: 5}",
            "",
            10,
            "decide.compare: asks twice: all > ann at 1",
        ),
        (
            "compare: [aann > ann at 1, opt > ann at 1], at_most: {seeds: 5}",
            "",
            10,
            "decide.compare.0: aann > ann at 1: no method is aann; allowed: ann, aann gamma=1, aann gamma=2",
        ),
        (
            "compare: [all > ann at 1 on cifar10], at_most: {seeds: 5}",
            "",
            10,
            "decide.compare.0: all > ann at 1 on cifar10: no cell is on cifar10; words of cells are: (1,2)",
        ),
        ("compare: [all > ann at 1]", "", 10, "decide.at_most: seeds is missing: how many a cell may come to have"),
        (
            "compare: ['aann gamma=1 > ann at 1/4 on (1,2)'], at_most: {seeds: 5}",
            "",
            10,
            "decide.compare: aann gamma=1 > ann at 1/4 on (1,2): no network there has a prediction at 1/4",
        ),
        (SOUND, "seeds: [1, 2]", 10, "decide.at_most.seeds: given 5; the sweep has 2 seeds"),
        (f"{SOUND}, first: 6", "", 10, "decide.first: given 6; must be at most the 5 seeds"),
        (f"{SOUND}, first: 0", "", 10, "decide.first: given 0; must be greater than or equal to 1"),
        (f"{SOUND}, level: 60 %", "", 10, "decide.level: given '60 %'; must be a chance of at most 50 %, such as 5 %"),
        (f"{SOUND}, level: 0", "", 10, "decide.level: given 0; must be a chance"),
        (f"{SOUND}, seeds: 3", "", 10, "decide.seeds: unknown key; allowed"),
        ("compare: [all > ann at 1], at_most: {seeds: 5, hours: 3}", "", 10, "decide.at_most.hours: unknown key"),
        ("compare: [all > ann at 1], at_most: {seeds: yes}", "", 10, "decide.at_most.seeds: given True"),
    ],
)
def test_each_fault_is_said_with_its_line(loaded, said, more, line, message) -> None:
    with pytest.raises(SweepError, match=re.escape(message)) as caught:
        loaded(said, more)
    assert f"line {line}: " in str(caught.value)
