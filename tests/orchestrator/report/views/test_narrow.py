"""Tables in the width of a terminal: what is dropped, what is shortened, and that it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from orchestrator.report.views.narrow import SHORT_ID, USUAL, fitted, folded
from orchestrator.report.views.render import table_text
from orchestrator.table import Column, Entry, Table


def table_of(columns: dict[str, list], notes: tuple[str, ...] = ()) -> Table:
    """A table of these columns, in order."""
    numeric = {name: not any(isinstance(value, str) for value in values) for name, values in columns.items()}
    return Table(
        name="small",
        title="Small",
        columns=tuple(Column(name=name, numeric=numeric[name]) for name in columns),
        rows=tuple(tuple(Entry(value=value) for value in row) for row in zip(*columns.values(), strict=True)),
        notes=notes,
    )


def longest(table: Table) -> int:
    """Of its rows; titles and notes are sentences, which a terminal breaks."""
    return max(cell_len(line) for line in table_text(table).splitlines()[2:] if "─" in line)


TRIALS = {
    "id": ["dea883dbaa34a460", "b1b1211ff2de0e15"],
    "trial": ["aann (2,8) digits seed 0", "ann (2,8) digits seed 0"],
    "where": [None, None],
    "reason": ["never ran", "not chosen yet: 4 of 4 trials that tune it have not ended"],
    "attempts": [1, 2],
    "hours": [0.25, 1000.5],
}


def test_a_table_that_fits_loses_only_what_is_empty_throughout() -> None:
    whole = table_of({"trial": ["ann"], "where": [None], "steps": [3]})
    assert [column.name for column in fitted(whole).columns] == ["trial", "steps"]
    assert fitted(whole).rows == ((Entry(value="ann"), Entry(value=3)),)
    assert fitted(whole).notes == ()


def test_columns_of_a_table_without_rows_stay() -> None:
    assert len(fitted(table_of({"trial": [], "where": []})).columns) == 2


def test_ids_are_shortened_before_texts_and_texts_before_columns_go() -> None:
    shown = fitted(table_of(TRIALS))
    assert [column.name for column in shown.columns] == ["id", "trial", "reason", "attempts", "hours"]
    assert [row[0].value for row in shown.rows] == [identifier[:SHORT_ID] for identifier in TRIALS["id"]]
    assert [row[1].value for row in shown.rows] == TRIALS["trial"]
    assert shown.rows[0][2].value == "never ran"
    assert str(shown.rows[1][2].value).endswith("…")
    assert longest(shown) == USUAL


def test_columns_that_are_left_out_are_named() -> None:
    shown = fitted(table_of(TRIALS, notes=("A note.",)), 60)
    assert [column.name for column in shown.columns] == ["id", "trial", "reason"]
    assert shown.notes == ("A note.", "Left out to fit 60 columns: attempts, hours; --wide shows all.")
    assert longest(shown) <= 60


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=60)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, st.integers(0, 10**6)), min_size=1, max_size=5))
def test_any_table_with_a_few_columns_fits(rows) -> None:
    names, where, why, steps = map(list, zip(*rows, strict=True))
    table = table_of({"trial": names, "where": where, "why": why, "steps": steps})
    assert longest(fitted(table)) <= USUAL


def test_a_folded_table_names_its_rows_in_each_part_and_loses_no_number() -> None:
    numbers = {f"metric {index}": [index, 10 * index] for index in range(20)}
    parts = folded(table_of({"method": ["ann", "aann"], **numbers}, notes=("A note.",)))
    assert len(parts) > 1
    assert all(part.columns[0].name == "method" and longest(part) <= USUAL for part in parts)
    assert [column.name for part in parts for column in part.columns[1:]] == list(numbers)
    assert [part.notes for part in parts] == [()] * (len(parts) - 1) + [("A note.",)]


def test_a_group_of_columns_that_fits_is_not_broken_up() -> None:
    columns = [Column(name="method", numeric=False)]
    columns += [Column(name=name, group=f"at {group}") for group in range(6) for name in ("computed", "printed")]
    row = (Entry(value="aann"), *(Entry(value=float(index)) for index in range(12)))
    parts = folded(Table(name="groups", title="Groups", columns=tuple(columns), rows=(row,)))
    assert len(parts) > 1
    assert all(len(part.columns) % 2 for part in parts)


@pytest.mark.parametrize("width", [60, USUAL])
def test_sentences_of_a_folded_table_go_over_several_lines(width) -> None:
    said = "prediction 4 of 5 would err in 76.40 %, the one before it in 58.91 %, and the one after it in 12.00 %"
    (shown,) = folded(table_of({"where": ["Table 4, n = 7, s = 5"], "says": ["AE 56.86"], "but": [said]}), width)
    assert longest(shown) <= width
    assert " ".join(str(row[2].value) for row in shown.rows) == said
    assert [row[0].value for row in shown.rows[1:]] == [""] * (len(shown.rows) - 1)
