"""What a comparison is called, where it holds, and who wins a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.sweep.comparisons import NOTHING, Comparison, Outcome, Place, interleaved

QUESTION = Comparison(method="aann", baseline="ann", metric="1/2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aann > ann at 1/2", QUESTION),
        (" aann>ann  at 1/2 ", QUESTION),
        ("ramp power=1 > ann at AE", Comparison(method="ramp power=1", baseline="ann", metric="AE")),
        ("aann > ann at 1 on cifar10", replace(QUESTION, metric="1", where="cifar10")),
        ("aann > ann at 1/2 on 7, 16 cifar10", replace(QUESTION, where="(7,16) cifar10")),
        ("aann > ann at 1/2 on cifar10 (7,16)", replace(QUESTION, where="cifar10 (7,16)")),
    ],
)
def test_text_and_back(text: str, expected: Comparison) -> None:
    assert Comparison.of(text) == expected
    assert Comparison.of(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "aann", "aann > ann", "aann at 1/2", "aann > ann at 1/3", "aann < ann at 1/2"])
def test_what_is_no_comparison_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"given .*; allowed: such as aann > ann at 1/2, at one of 1/4, 1/2"):
        Comparison.of(text)


def test_no_method_is_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="it compares ann with itself"):
        Comparison.of("ann > ann at 1/2")


@pytest.mark.parametrize(
    ("where", "expected"),
    [("", True), ("cifar10", True), ("digits", False), ("(7,16)", True), ("(7,16) CIFAR10", True), ("(7,1)", False)],
)
def test_words_say_where_it_holds(where: str, expected: bool) -> None:
    assert replace(QUESTION, where=where).covers(Place("cifar10", "(7,16)")) == expected


@pytest.mark.parametrize(
    ("own", "other", "rope", "expected"),
    [
        ((9.0, 7.0, 8.0), (9.0, 7.0, 9.0), 0.5, Outcome(1, clear=True)),
        ((9.0, 7.0, 8.0), (9.0, 7.0, 9.0), 1.0, Outcome(1, clear=False)),
        ((9.0, 9.0, 7.0), (9.0, 9.0, 7.0), 0.0, Outcome(0, clear=False)),
        ((9.0, 7.0, 9.5), (9.0, 8.0, 9.0), 0.0, Outcome(-1, clear=False)),
        (None, (9.0, 9.0, 8.0), 0.0, Outcome(-1, clear=False)),
        ((9.0, 9.0, 8.0), None, 0.5, Outcome(1, clear=True)),
        (None, None, 0.0, NOTHING),
    ],
)
def test_the_lower_error_wins_and_a_trial_that_diverged_loses(
    make_trial, make_record, own, other, rope, expected
) -> None:
    trial = make_trial()
    pair = [(trial.cell, make_record(trial, errors)) for errors in (own, other)]
    assert replace(QUESTION, metric="1").outcome(*pair, rope) == expected


def test_a_network_that_does_not_reach_the_metric_says_nothing(make_trial, make_record) -> None:
    trial = make_trial()
    pair = [(trial.cell, make_record(trial, (first, 1.0, 1.0))) for first in (5.0, 6.0)]
    assert replace(QUESTION, metric="1/4").outcome(*pair, 0.0) == NOTHING


def test_data_sets_take_turns_whatever_order_the_file_has() -> None:
    places = [Place(data, network) for data in ("b", "a") for network in ("(2,8)", "(1,8)", "(3,8)")][:5]
    expected = [("a", "(1,8)"), ("b", "(1,8)"), ("a", "(2,8)"), ("b", "(2,8)"), ("b", "(3,8)")]
    assert interleaved(places) == interleaved(reversed(places)) == expected
