"""Which seeds a sweep adds, and what it decides, against a brute force on errors that are drawn."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import comb
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deciding import TEXT, TWO, Drawn, Run, ended
from orchestrator.ledger import last_run, needs
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import added_seeds
from orchestrator.sweep.comparisons import Comparison
from orchestrator.sweep.deciding import Decision, Standing
from orchestrator.sweep.grid import Sweep

ONE_PLACE = """
name: decides
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
training: {steps: 44, batch_size: 64}
decide: {%s}
"""


@pytest.fixture
def two(load_text) -> Sweep:
    return load_text(TEXT % TWO)


@pytest.fixture(scope="session")
def drawn(make_record):
    def drawn(aann: float = 0.5, exp3: float = 0.5, **more) -> Drawn:
        return Drawn(make_record, {"aann": aann, "exp3": exp3}, **more)

    return drawn


def seeds(sweep: Sweep) -> dict[str, int]:
    """How many each method has."""
    return Counter(cell.method for cell in sweep.cells if cell.dataset == "digits" and cell.c == 2)


def decisions(sweep: Sweep) -> list[str]:
    return [str(it.decision) for it in sweep.deciding.standings]


def standing(sweep: Sweep, index: int = 0) -> Standing:
    return sweep.deciding.standings[index]


# Against a brute force


def e(wins: int, losses: int) -> Fraction:
    """The closed form as a sum, for itself."""
    pairs = wins + losses
    return Fraction(sum(comb(pairs + 1, k) for k in range(wins + 1)), (pairs + 1) * comb(pairs, wins))


def brute_force(won: list[list[list[bool]]], first: int, most: int) -> tuple[list[str], list[int]]:
    """``won[comparison][seed]`` are its pairs in order. Decisions, and how many seeds each comparison was given."""
    decided, given = ["open"] * len(won), [first] * len(won)
    for turn in range(first, most + 1):
        peaks, doubts = [], []
        for index, pairs in enumerate(won):
            so_far = [pair for seed in pairs[: given[index]] for pair in seed]
            counts = [(sum(so_far[:n]), n - sum(so_far[:n])) for n in range(len(so_far) + 1)]
            peaks.append(max(e(*count) for count in counts))
            doubts.append(e(counts[-1][1], counts[-1][0]))
        changed = True
        while changed:
            bar = 20 * (len(won) - decided.count("better"))
            new = [it == "open" and peak >= bar for it, peak in zip(decided, peaks, strict=True)]
            decided = ["better" if now else it for it, now in zip(decided, new, strict=True)]
            changed = any(new)
        doubted = [it == "open" and doubt >= 20 for it, doubt in zip(decided, doubts, strict=True)]
        decided = ["no better" if now else it for it, now in zip(decided, doubted, strict=True)]
        changed = turn < most
        while changed:
            waiting = decided.count("open")
            least = 20 * (len(won) - decided.count("better")) - 20 * (waiting - 1)
            best = []
            for index, pairs in enumerate(won):
                wins = sum(pair for seed in pairs[: given[index]] for pair in seed)
                total, more = sum(map(len, pairs[: given[index]])), sum(map(len, pairs[given[index] : most]))
                best.append(max(peaks[index], e(wins + more, total - wins)))
            new = [it == "open" and peak < least for it, peak in zip(decided, best, strict=True)]
            decided = ["out of reach" if now else it for it, now in zip(decided, new, strict=True)]
            changed = any(new)
        if turn == most:
            decided = ["undecided" if it == "open" else it for it in decided]
        given = [count + (it == "open") for it, count in zip(decided, given, strict=True)]
    return decided, given


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.5, 0.8, 0.95]), st.sampled_from([0.1, 0.5, 0.8, 0.95]))
def test_decisions_and_seeds_are_those_of_a_brute_force(load_text, drawn, seed, aann, exp3) -> None:
    sweep, luck = load_text(TEXT % TWO), drawn(aann, exp3, seed=seed)
    last = ended(sweep, luck)
    trials = {(t.cell.method, t.cell.dataset, t.cell.network, t.cell.seed): t for t in sweep.whole.trials}
    order = [("cifar10", "(1,2)"), ("digits", "(1,2)"), ("cifar10", "(1,3)"), ("digits", "(1,3)")]
    won = [
        [[luck.record(trials[method, *place, turn]).result.errors[0] < 50 for place in order] for turn in range(9)]
        for method in ("aann", "exp3")
    ]
    expected, given_seeds = brute_force(won, first=2, most=9)
    assert decisions(last) == expected
    assert [it.seeds for it in last.deciding.standings] == given_seeds
    assert seeds(last) == {"ann": max(given_seeds), "aann": given_seeds[0], "exp3": given_seeds[1]}


# What is promised


def test_at_most_one_null_sweep_in_twenty_decides_anything(load_text, drawn) -> None:
    """1,000 sweeps of two comparisons in which nobody is better, looked at after every round."""
    sweep = load_text(ONE_PLACE % "compare: [all > ann at AE], at_most: {seeds: 20}, first: 1, rope: 0")
    found = [decisions(ended(sweep, drawn(seed=seed))) for seed in range(1000)]
    assert sum("better" in each for each in found) <= 50


@pytest.mark.parametrize(("chance", "expected"), [(0.7, 37), (0.8, 17), (0.9, 11)])
def test_a_method_that_wins_so_often_is_found_as_soon_as_the_design_says(load_text, drawn, chance, expected) -> None:
    """The median number of pairs, of which each seed gives one."""
    sweep = load_text(ONE_PLACE % "compare: [aann > ann at AE], at_most: {seeds: 195}, first: 1")
    deciding = sweep.deciding
    pairs = []
    for run in range(400):
        rng = random.Random(run)
        found = deciding.played(lambda *_, rng=rng: added_seeds.Outcome(1 if rng.random() < chance else -1, clear=True))
        pairs.append(found.standings[0].seeds if found.standings[0].decision is Decision.BETTER else 196)
    assert median(pairs) == pytest.approx(expected, rel=0.1)


@settings(max_examples=25)
@given(st.data())
def test_in_any_order_of_results_and_after_any_kill_it_decides_and_trains_the_same(load_text, drawn, data) -> None:
    """A command that is killed keeps nothing but the records: each look begins from these."""
    sweep = load_text(TEXT % TWO)
    luck = drawn(0.9, 0.6, seed=data.draw(st.integers(0, 1000)))
    records = {}
    while left := [trial for trial in sweep.chosen(records).trials if trial.id not in records]:
        at_once = data.draw(st.integers(1, len(left)))
        data.draw(st.randoms(use_true_random=False)).shuffle(left)
        records |= luck.records(left[:at_once])
    expected = ended(sweep, luck)
    assert records.keys() == {trial.id for trial in expected.trials}
    assert sweep.chosen(records).deciding.standings == expected.deciding.standings


def test_through_a_ledger_it_comes_to_the_same(two, drawn, tmp_path) -> None:
    run = Run(two, Ledger(tmp_path / "runs"), drawn(0.9, 0.5))
    run.begin()
    found, expected = run.finish(), ended(two, drawn(0.9, 0.5))
    assert found.deciding.standings == expected.deciding.standings
    assert set(run.trained) == {trial.id for trial in expected.trials}
    assert len(run.trained) == len(set(run.trained)), "nothing is trained twice"


# Rounds


def test_the_first_seeds_are_all_methods_and_then_only_what_is_open_grows(two, drawn) -> None:
    assert seeds(two) == {"ann": 2, "aann": 2, "exp3": 2}
    last = ended(two, drawn(1.0, 0.0))
    assert decisions(last) == ["better", "no better"]
    assert seeds(last) == {"ann": 2, "aann": 2, "exp3": 2}, "8 wins of 8 pairs are enough"


def test_only_the_places_of_an_open_comparison_grow(load_text, drawn) -> None:
    sweep = load_text(TEXT % "compare: ['aann > ann at AE on digits 1,3'], at_most: {seeds: 12}, first: 1, rope: 0")
    last = ended(sweep, drawn(0.5, seed=3))
    grown = {(cell.dataset, cell.network, cell.method) for cell in last.cells if cell.seed > 0}
    assert grown == {("digits", "(1,3)", "aann"), ("digits", "(1,3)", "ann")}


def test_a_trial_without_a_result_holds_back_all_later_rounds(two, drawn) -> None:
    """Whatever became of it: it can decide for nobody."""
    luck = drawn(0.7, 0.7, seed=4)
    records = luck.records(two.trials)
    assert seeds(two.chosen(records))["ann"] == 3
    missing = next(trial for trial in two.trials if trial.cell.method == "exp3")
    del records[missing.id]
    now = two.chosen(records)
    assert seeds(now)["ann"] == 2
    assert decisions(now) == ["open", "open"]


def test_a_method_that_diverges_never_wins_by_it(two, make_record) -> None:
    records = {t.id: make_record(t, None if t.cell.method == "aann" else (50.0,) * 3) for t in two.whole.trials}
    assert decisions(two.chosen(records)) == ["no better", "no better"]
    assert standing(two.chosen(records)).losses == 8


def test_a_decision_lowers_what_the_others_need(load_text, drawn) -> None:
    sweep = load_text(ONE_PLACE % "compare: [all > ann at AE], at_most: {seeds: 40}, first: 1, rope: 0")
    found = [ended(sweep, drawn(1.0, 0.8, seed=seed)) for seed in range(20)]
    assert {standing(it).threshold for it in found} == {40}
    assert {standing(it, 1).threshold for it in found if decisions(it) == ["better", "better"]} <= {20, 40}
    assert any(standing(it, 1).threshold == 20 and decisions(it)[1] == "better" for it in found)


def test_the_level_is_what_the_file_says(load_text, drawn) -> None:
    sweep = load_text(ONE_PLACE % "compare: [aann > ann at AE], level: 1 %, at_most: {seeds: 40}, first: 1")
    last = standing(ended(sweep, drawn(1.0)))
    assert (last.threshold, last.seeds) == (100, 9), "2^10 / 10 is the first above 100"


@pytest.mark.parametrize(("amount", "expected"), [(8, 2), (17.9, 2), (18, 3), (30, 5)])
def test_no_round_begins_that_would_take_more_than_the_hours(load_text, drawn, amount, expected) -> None:
    """Each trial takes an hour of a core; the first two seeds are 12 trials, then each round takes 6."""
    text = TEXT.replace("[digits, cifar10]", "[digits]")
    said = f"compare: [all > ann at AE], at_most: {{seeds: 40, cpu_hours: {amount}}}, first: 2, rope: 0"
    sweep = load_text(text % said)
    last = ended(sweep, drawn(0.5, 0.6, seed=21, hours=1.0))
    assert seeds(last)["ann"] == expected
    assert decisions(last) == ["undecided", "undecided"]


def test_no_round_begins_before_all_first_trials_have_said_how_long_they_took(load_text, drawn) -> None:
    """Also those that nothing compares: what they took may be what is missing for the next round."""
    said = "compare: [aann > ann at AE], at_most: {seeds: 40, cpu_hours: 25}, first: 2, rope: 0"
    sweep, luck = load_text(TEXT % said), drawn(0.6, seed=21, hours=1.0)
    records = luck.records(sweep.trials)
    assert seeds(sweep.chosen(records)) == {"ann": 2, "aann": 2, "exp3": 2}
    late = [trial for trial in sweep.trials if trial.cell.method == "exp3"]
    without = {name: record for name, record in records.items() if name not in {trial.id for trial in late}}
    assert seeds(sweep.chosen(without)) == {"ann": 2, "aann": 2, "exp3": 2}
    assert decisions(sweep.chosen(without)) == ["open"]
    assert decisions(sweep.chosen(records)) == ["undecided"], "24 of 25 hours are spent, and a round takes 8"


def test_a_trial_that_two_methods_share_takes_its_hours_once(load_text, drawn) -> None:
    text = ONE_PLACE.replace("exp3: {strategy: exp3}", "same: ann")
    said = "compare: [aann > ann at AE%s], at_most: {seeds: 40, cpu_hours: 30}, first: 2, rope: 0"
    luck = drawn(0.5, seed=21, hours=1.0)
    alone, both = (ended(load_text(text % (said % more)), luck) for more in ("", ", aann > same at AE"))
    assert seeds(both)["ann"] >= seeds(alone)["ann"] - 1


def test_pairs_that_say_nothing_are_no_evidence_that_a_method_is_no_better(two, make_record) -> None:
    """As where both methods diverge, whatever the seed."""
    records = {trial.id: make_record(trial, None) for trial in two.whole.trials}
    last = two.chosen(records)
    assert decisions(last) == ["out of reach", "out of reach"]
    assert standing(last).seeds >= 7


def test_hours_of_gpus_are_no_hours_of_cores(load_text, drawn) -> None:
    said = "compare: [aann > ann at AE], at_most: {seeds: 40, gpu_hours: 0.001}, first: 2, rope: 0"
    assert seeds(ended(load_text(TEXT % said), drawn(0.5, seed=21, hours=1.0)))["aann"] > 2


def test_a_tuned_method_is_compared_once_it_is_chosen(load_text, drawn) -> None:
    text = ONE_PLACE.replace("{strategy: exp3}", "{strategy: exp3, tune: {grid: {gamma: [0.5, 1]}}}")
    sweep = load_text(text % "compare: [exp3 > ann at AE], at_most: {seeds: 9}, first: 2")
    assert any(trial.awaits for trial in sweep.trials)
    luck = drawn(0.5, 1.0)
    last = ended(sweep, replace(luck, chances={**luck.chances, "exp3 gamma=0.5 tuning": 1.0}))
    assert decisions(last) == ["better"]
    assert seeds(last) == {"ann": 7, "aann": 2, "exp3": 7}
    gammas = {trial.config.regime.strategy.gamma for trial in last.in_tables if trial.cell.method == "exp3"}
    assert gammas == {0.5}


# What others see of it


def test_what_may_be_added_is_needed_and_is_in_what_is_left_of_a_run(two, drawn, tmp_path) -> None:
    run = Run(two, Ledger(tmp_path / "runs"), drawn(0.8, 0.5))
    run.begin()
    assert needs.of(two.name, run.ledger).trials == {trial.id for trial in two.whole.trials}
    left = last_run.recalled(two.name, two.path, run.ledger)
    assert left is not None
    assert left.chosen({}).ids == two.ids
    last = run.finish()
    again = left.chosen(run.ledger.records(trial.id for trial in left.whole.trials))
    assert again.deciding.standings == last.deciding.standings
    assert again.cells == last.cells


def test_the_expected_number_is_about_what_comes_true(load_text, drawn) -> None:
    """Over many sweeps whose chances are uniform, as the simulation supposes."""
    sweep = load_text(ONE_PLACE % "compare: [aann > ann at AE], at_most: {seeds: 20}, first: 3, rope: 0")
    rng = random.Random(5)
    said, came, within = [], [], 0
    for seed in range(60):
        luck = drawn(rng.random(), seed=seed)
        records = luck.records(trial for trial in sweep.trials)
        now, last = sweep.chosen(records), ended(sweep, luck)
        if found := added_seeds.expected(now, records):
            grown = len(last.trials) - len(now.trials)
            said.append(found.trials.mean)
            came.append(grown)
            within += found.trials.low <= grown <= found.trials.high
            assert found.most == 2 * 16
    assert sum(said) == pytest.approx(sum(came), rel=0.25)
    assert within / len(came) > 0.7


def test_nothing_is_expected_of_a_sweep_that_is_over_or_decides_nothing(two, drawn, load_text) -> None:
    last = ended(two, drawn(1.0, 0.0))
    assert added_seeds.expected(last, {}) is None
    assert added_seeds.expected(load_text(TEXT.replace("decide: {%s}", "")), {}) is None


def test_the_same_range_is_expected_each_time(two, drawn) -> None:
    records = drawn(0.7, 0.6, seed=2).records(two.trials)
    now = two.chosen(records)
    assert added_seeds.expected(now, records) == added_seeds.expected(now, records)


def test_a_question_is_the_same_whatever_the_order_of_the_file(load_text, drawn) -> None:
    other = TEXT.replace("[{n: 1, c: 2}, {n: 1, c: 3}]", "[{n: 1, c: 3}, {n: 1, c: 2}]")
    other = other.replace("[digits, cifar10]", "[cifar10, digits]")
    one, two = (ended(load_text(text % TWO), drawn(0.8, 0.7, seed=9)) for text in (TEXT, other))
    assert one.deciding.standings == two.deciding.standings
    assert Comparison.of("aann > ann at AE") == standing(one).comparison
