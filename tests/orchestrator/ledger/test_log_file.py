"""A log keeps its beginning and its end, says what it dropped between them, and tells what is new in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ledger import log_file
from orchestrator.ledger.ledger import Ledger, SupersededError
from orchestrator.ledger.log_file import BoundedLog, last_lines, news

FIRST, LAST = 20, 40


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_file, "FIRST", FIRST)
        patch.setattr(log_file, "LAST", LAST)
        yield


LINES = st.lists(st.text("ab", max_size=9).map(lambda text: f"{text}\n".encode()), max_size=40)


def parts(content: bytes) -> tuple[bytes, int, bytes]:
    """What is before the line that says what was dropped, how much that was, and what is after it."""
    found = re.search(rb"^== (\d+) bytes are dropped here ==\n", content, re.M)
    return (content[: found.start()], int(found[1]), content[found.end() :]) if found else (content, 0, b"")


@given(LINES)
def test_the_beginning_and_the_end_are_kept_in_whole_lines_and_the_rest_is_counted(lines) -> None:
    said, log = b"".join(lines), BoundedLog()
    for line in lines:
        log.add(line)
    first, dropped, last = parts(log.content)
    assert len(first) + dropped + len(last) == len(said)
    assert said.startswith(first)
    assert said.endswith(last)
    if len(said) <= FIRST + LAST - 10:  # no line is longer than 10 bytes
        assert log.content == said
    if dropped:
        assert FIRST - 10 < len(first) <= FIRST
        assert LAST - 10 < len(last) <= LAST
        assert first.endswith(b"\n")


@given(LINES, LINES)
def test_a_log_that_is_read_again_goes_on_as_one_that_never_stopped(before, after) -> None:
    through = BoundedLog(b"".join(before))
    again = BoundedLog(through.content)
    for line in after:
        through.add(line)
        again.add(line)
    assert again.content == through.content


def test_what_came_and_is_not_here_is_counted_with_what_it_pushed_out() -> None:
    log = BoundedLog(b"first\n")
    log.add(b"x" * 30 + b"\n")
    log.skip(1000)
    log.add(b"last\n")
    assert parts(log.content) == (b"first\n", 1031, b"last\n")


def test_a_line_without_an_end_is_cut_where_it_must_be() -> None:
    log = BoundedLog(b"x" * 1000)
    assert parts(log.content) == (b"", 1000 - LAST, b"x" * LAST)


@given(LINES, st.lists(LINES, max_size=5))
def test_who_looks_at_times_reads_all_that_was_not_dropped_and_always_the_end(lines, later) -> None:
    log, said = BoundedLog(b"".join(lines)), b"".join(lines)
    seen = before = log.content.decode()
    for more in map(b"".join, later):
        said += more
        log.add(more)
        seen, before = seen + news(before, log.content.decode()), log.content.decode()
    if b"dropped" not in log.content:
        assert seen.encode() == said
    assert seen.encode().endswith(said[-5:])


def test_news_are_what_follows_on_what_was_read() -> None:
    assert news("a\nb\n", "a\nb\nc\n") == "c\n"
    assert news("a\n" * 3 + "b\n", "== 6 bytes are dropped here ==\nb\nc\n".replace("b\n", "a\na\na\nb\n")) == "c\n"
    assert news("a\nb\n", "c\nd\n") == "== some lines are left out here ==\nc\nd\n"
    assert news("", "c\n") == "c\n"


@pytest.mark.parametrize(("count", "expected"), [(0, ""), (1, "c"), (2, "b\nc"), (9, "a\nb\nc")])
def test_the_last_lines(count: int, expected: str) -> None:
    assert last_lines("a\nb\nc", count) == expected


def test_an_attempt_that_another_took_over_from_writes_no_log(ledger: Ledger, make_trial) -> None:
    trial = make_trial()
    late = ledger.begin(trial)
    ledger.write_log(late, b"one\n")
    ledger.begin(trial)
    with pytest.raises(SupersededError):
        ledger.write_log(late, b"two\n")
    assert (ledger.log(trial.id), ledger.log_size(trial.id)) == ("one\n", 4)
    assert (ledger.log("0" * 16), ledger.log_size("0" * 16)) == ("", None)
