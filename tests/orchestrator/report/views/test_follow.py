"""A log that is followed while a training that was done again takes the place of the earlier one."""

from __future__ import annotations

import pytest

from orchestrator.report.views.follow import AGAIN, _since_adopted

EARLIER = "== attempt 1 ==\nold words\n"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("one\n", "one\ntwo\n", "one\n"),
        (f"{EARLIER}{AGAIN}\nnew\n", "new\nnewer\n", "new\n"),
        (f"{EARLIER}{AGAIN}\n", "new\n", ""),
        (f"{AGAIN}\nnew\n", "new\nnewer\n", "new\n"),
        (f"{EARLIER}{AGAIN}\nnew\n", f"{EARLIER}{AGAIN}\nnew\nnewer\n", f"{EARLIER}{AGAIN}\nnew\n"),
        (f"{EARLIER}{AGAIN}\nnew\n", "another\n", f"{EARLIER}{AGAIN}\nnew\n"),
    ],
)
def test_each_line_counts_as_shown_once(before: str, now: str, expected: str) -> None:
    assert _since_adopted(before, now) == expected
