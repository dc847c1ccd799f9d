"""Shows what two trials differ in: a sentence, then what differs and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.analysis.sweep_difference import A, B
from orchestrator.analysis.trial_difference import (
    NUMBERS,
    OTHER,
    PARTS,
    SAME,
    UNKNOWN,
    ErrorPair,
    Side,
    TrialDifference,
)
from orchestrator.report.views import narrow
from orchestrator.report.views.render import ABSENT, as_csv, as_json, as_text, table_of, table_text
from orchestrator.report.views.trial import jsonable

Row = dict[str, Any]

TRIAL_COLUMNS = ("part", "what", "a", "b", "difference", "first_epoch", "largest", "in_epoch")


def shown(found: TrialDifference, form: str) -> str:
    match form:
        case "json":
            return as_json(_trials_content(found))
        case "csv":
            return as_csv(_trial_rows(found), TRIAL_COLUMNS)
        case _:
            return "\n\n".join(_trial_parts(found))


def said_of_trials(found: TrialDifference) -> str:
    """Such as ``same config, data and environment; other code; final error 12.53 % and 12.90 %``."""
    words = {word: [part for part in PARTS if part != NUMBERS and found.parts[part] == word] for word in WORDS}
    alike = "; ".join(WORDS[word].format(listed(parts)) for word, parts in words.items() if parts)
    return f"{alike}; {_ends(found)}"


WORDS = {SAME: "same {}", OTHER: "other {}", UNKNOWN: "{} not known"}


def _ends(found: TrialDifference) -> str:
    if found.same_bits:
        return "same bits"
    if found.a.errors and found.b.errors:
        a, b = (side.record.result.errors[-1] if side.record else 0.0 for side in (found.a, found.b))
        if found.parts[NUMBERS] == SAME:
            return f"same numbers, final error {a:.2f} %, not shown to be the same bits"
        return f"same final error, {a:.2f} %" if a == b else f"final error {a:.2f} % and {b:.2f} %"
    return f"{A} is {found.a.state}, {B} is {found.b.state}"


def _trial_parts(found: TrialDifference) -> Iterator[str]:
    yield said_of_trials(found)
    yield in_lines("", sides_named((found.a.storage, found.b.storage), [_named(found.a), _named(found.b)]))
    if found.differing:
        yield in_lines("what differs", [words(it.part, it.what, it.a, it.b) for it in found.differing])
    if found.first:
        values = f"{value_words(found.first.recorded)} and {value_words(found.first.rerun)}"
        yield f"first other number: {found.first.what}, {values}"
    if found.parts[NUMBERS] == OTHER and found.errors:
        yield as_text("errors in %, and where the epochs differ", [_error_row(it) for it in found.errors])


def _named(side: Side) -> Row:
    return {"cell": side.trial.cell.label, "id": side.trial.id}


def _error_row(it: ErrorPair) -> Row:
    return {
        "at": it.metric,
        A: it.a,
        B: it.b,
        f"{B} - {A}": it.difference,
        "from epoch": it.first,
        "largest": it.most,
        "in epoch": it.at,
    }


def _trial_rows(found: TrialDifference) -> list[Row]:
    rows = [{"part": it.part, "what": it.what, "a": jsonable(it.a), "b": jsonable(it.b)} for it in found.differing]
    if found.first:
        first = {"what": found.first.what, "a": jsonable(found.first.recorded), "b": jsonable(found.first.rerun)}
        rows.append({"part": "first", **first})
    rows += [{"part": "error", **_error(it)} for it in found.errors]
    return [{name: row.get(name) for name in TRIAL_COLUMNS} for row in rows]


def _error(it: ErrorPair) -> Row:
    return {
        "what": it.metric,
        "a": it.a,
        "b": it.b,
        "difference": it.difference,
        "first_epoch": it.first,
        "largest": it.most,
        "in_epoch": it.at,
    }


def _trials_content(found: TrialDifference) -> Row:
    sides = {
        name: {
            "trial": side.trial.id,
            "cell": side.trial.cell.label,
            "storage": side.storage,
            "state": str(side.state),
            "epochs": len(side.epochs),
        }
        for name, side in (("a", found.a), ("b", found.b))
    }
    first = found.first
    return {
        "said": said_of_trials(found),
        **sides,
        "parts": dict(found.parts),
        "same_bits": found.same_bits,
        "differing": [asdict(it) | {"a": jsonable(it.a), "b": jsonable(it.b)} for it in found.differing],
        "first": first and {"what": first.what, "a": jsonable(first.recorded), "b": jsonable(first.rerun)},
        "errors": [_error(it) for it in found.errors],
    }


def sides_named(storages: tuple[str, str], named: Sequence[Row]) -> list[Row]:
    """What A and B are, with their storages where these are two."""
    two = storages[0] != storages[1]
    return [
        {"": name, **what, **({"storage": storage} if two else {})}
        for name, what, storage in zip((A, B), named, storages, strict=True)
    ]


def listed(words: Sequence[str]) -> str:
    """Such as ``code, data and environment``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def words(part: str, what: str, a: Any, b: Any) -> Row:
    return {"part": part, "what": what, A: value_words(a), B: value_words(b)}


def value_words(value: Any) -> str:
    """Numbers in full: two that differ in the last bit must not look alike."""
    return ABSENT if value is None else str(value)


def in_lines(title: str, rows: list[Row]) -> str:
    """A table of texts in the width of the terminal: what is long goes over several lines, and nothing is cut."""
    (table,) = narrow.folded(table_of(title, rows), narrow.terminal_width())
    return table_text(table)
