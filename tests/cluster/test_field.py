"""The field's methods in one table: the sweep of the docs, cut short, through the whole of the program."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from cluster_user import User

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SWEEP = Path(__file__).parents[2] / "sweeps" / "field_digits.yaml"
TUNED, METHODS = 10, 14
POINTS = 2


def cut_short(text: str) -> str:
    """Two points for each method, one seed, two epochs."""
    text = text.replace("tune: {grid", f"tune: {{points: {POINTS}, grid").replace("seeds: [0, 1, 2]", "seeds: [0]")
    text = text.replace("steps: 400", "steps: 44").replace("{0: 0.1, 200: 0.01, 300: 0.001}", "{0: 0.1}")
    return text.replace("n: 2, c: 8", "n: 1, c: 4")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, str]:
    user = User(tmp_path_factory.mktemp("field"), cut_short(SWEEP.read_text()))
    done = user.run("sweep")
    assert done.code == 0, done.stderr
    return user, done.stdout


def test_each_method_is_tuned_with_the_same_effort_and_trained(ran: tuple[User, str]) -> None:
    user, _ = ran
    assert len(user.results()) == TUNED * POINTS + METHODS


def test_the_table_has_errors_area_cost_and_what_was_chosen_of_each_method(ran: tuple[User, str]) -> None:
    user, shown = ran
    rows = {
        row["method"]: row
        for row in csv.DictReader(io.StringIO(user.run("report", "--format", "csv", "--table", "field").stdout))
    }
    assert len(rows) == METHODS
    for row in rows.values():
        assert all(0 <= float(row[metric]) <= 100 for metric in ("1/2", "3/4", "1", "AE", "auc"))  # none costs 1/4
        assert float(row["cost"]) > 0
        assert float(row["seconds"]) > 0
    assert float(rows["ann"]["cost"]) == 1
    assert sum(bool(row["tuned"]) for row in rows.values()) == TUNED
    assert re.fullmatch(r"factor=(0\.5|1|2|4)", rows["ann"]["tuned"])
    assert re.search(r"\n  *method .*1/4 .*1/2 .*3/4 .*1 .*AE .*AUC .*cost .*tuned", shown)
