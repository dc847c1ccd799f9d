"""Limits say what they were given, and what is used of them is what a sum over all moments gives."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.sweep.limits import AtMost, Limits, Price, Spending, limits_of, moment, span
from orchestrator.sweep.trial import Resources

NOW = datetime(2030, 1, 31, 22, 15).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("07:00", datetime(2030, 2, 1, 7, 0)),
        ("23:30", datetime(2030, 1, 31, 23, 30)),
        ("22:15", datetime(2030, 2, 1, 22, 15)),
        ("2030-02-03T04:05", datetime(2030, 2, 3, 4, 5)),
        ("90m", datetime(2030, 1, 31, 23, 45)),
        ("1.5h", datetime(2030, 1, 31, 23, 45)),
        ("2d", datetime(2030, 2, 2, 22, 15)),
    ],
)
def test_a_moment_is_the_next_of_its_kind(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected.timestamp()


def test_a_time_zone_is_heeded_and_a_year_that_no_clock_has_is_refused() -> None:
    assert moment("2030-02-03T04:05+01:00", NOW) == datetime(2030, 2, 3, 3, 5, tzinfo=UTC).timestamp()
    assert moment("2030-02-03T04:05Z", NOW) == datetime(2030, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    for text in ("9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00"):
        with pytest.raises(ValueError, match=r"allowed: a time such as|it has passed"):
            moment(text, NOW)


def test_a_span_is_so_many_seconds_also_when_clocks_change(monkeypatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        eve = datetime(2026, 10, 24, 20, 0).timestamp()
        assert moment("8h", eve) == eve + 8 * 3600
        assert moment("04:00", eve) == eve + 9 * 3600  # the clock shows three o'clock twice
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_script_may_give_moments_and_spans_of_its_own() -> None:
    hour = limits_of(timedelta(hours=1), "20 gpu-hours", None, NOW)
    assert hour.until == NOW + 3600
    assert [str(limit) for limit in hour.at_most] == ["20 gpu-hours"]
    assert limits_of(datetime(2030, 2, 3, 4, 5), [], None, NOW).until == datetime(2030, 2, 3, 4, 5).timestamp()
    with pytest.raises(UsageError, match="at_most: given 20; must be a text"):
        limits_of(None, [20], None, NOW, named=lambda name: name.replace("-", "_"))  # type: ignore[list-item]


def test_a_span_is_a_number_with_a_unit() -> None:
    assert [span(text) for text in ("30s", "8m", "1.5h", "2d", "1w")] == [30, 480, 5400, 172800, 604800]
    assert span(timedelta(minutes=8)) == 480
    for text in ("8", "8 min", "07:00", "", "-1s", timedelta(seconds=-1)):
        with pytest.raises(ValueError, match=r"allowed: a number with s, m, h, d or w, such as 30s, 8m or 7d"):
            span(text)


def test_a_limit_that_no_clock_shows_is_refused() -> None:
    with pytest.raises(UsageError, match="--until: given '999999w'; allowed: a time such as 07:00"):
        limits_of("999999w", (), None, NOW)


def test_all_faults_of_the_limits_are_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        limits_of("1:70", ["9 EU", "0 gpu-hours"], "3", NOW)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "--until",
        "--at-most",
        "--at-most",
        "--price",
    ]
    with pytest.raises(UsageError, match="it has passed, now is 2030-01-31T22:15"):
        limits_of("2030-01-31T22:00", [], None, NOW)
    with pytest.raises(UsageError, match="at most 50 EUR: no price is given"):
        limits_of(None, ["50 EUR"], None, NOW)
    with pytest.raises(UsageError, match=r"the price is 2.00 USD; give one in EUR"):
        limits_of(None, ["50 EUR"], "2 USD", NOW)
    with pytest.raises(UsageError, match="one limit in gpu-hours is enough"):
        limits_of(None, ["2 gpu-hours", "1 gpu-hour"], None, NOW)


def test_without_limits_there_is_always_time() -> None:
    assert not Limits()
    assert Spending(Limits(), 0.0).left(1e9) == math.inf


def test_money_counts_gpus_or_else_cores() -> None:
    limits = Limits(at_most=(AtMost.of("10 EUR"),), price=Price.of("2.50 EUR"))
    assert limits.rate("EUR", Resources(cpus=4, gpus=0.5)) * 3600 == pytest.approx(1.25)
    assert limits.rate("EUR", Resources(cpus=4)) * 3600 == pytest.approx(10)
    assert Limits().rate("gpu-hours", Resources(cpus=4)) == 0
    assert Limits().rate("cpu-hours", Resources(cpus=4, gpus=1)) == 0


TRIALS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 8)),
    min_size=1,
    max_size=6,
)


@given(TRIALS, st.integers(1, 5000))
def test_what_is_used_is_a_sum_over_all_seconds(trials: list[tuple[int, int, int]], amount: int) -> None:
    """``trials`` begin at a second, run for some, on some cores; a core-second costs the same whenever it is."""
    spending = Spending(Limits(at_most=(AtMost(amount=amount / 3600, unit="cpu-hours"),)), 0.0)
    events = [(begin, True, index) for index, (begin, _, _) in enumerate(trials)]
    events += [(begin + length, False, index) for index, (begin, length, _) in enumerate(trials)]
    for at, begins, index in sorted(events):
        if begins:
            spending.began(str(index), Resources(cpus=trials[index][2]), at)
        else:
            spending.ended(str(index), at)
    end = max(begin + length for begin, length, _ in trials)
    expected = sum(cpus for begin, length, cpus in trials for second in range(end) if begin <= second < begin + length)
    assert spending.used(end)["cpu-hours"] * 3600 == pytest.approx(expected)
    left = spending.left(end, Resources(cpus=2))
    assert left == pytest.approx((amount - expected) / 2, abs=1e-6)
