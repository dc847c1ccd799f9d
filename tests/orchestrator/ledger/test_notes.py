"""What people note is kept, bounded, and shown as text, whoever wrote it."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import UsageError
from orchestrator.ledger import checksummed, notes
from orchestrator.ledger.notes import LONGEST, MOST_NOTES

NAME = "20260101T000000-0123abcd.json"


def test_notes_are_read_back_oldest_first_by_what_they_are_of(ledger) -> None:
    written = [notes.add(ledger, "trials", "a" * 16, text, "me@here") for text in ("one\ntwo", "  ü \N{SNOWMAN} ")]
    notes.add(ledger, "sweeps", "small", "of the sweep")
    read = notes.read(ledger, "trials", ["a" * 16, "b" * 16])
    assert sorted(note.text for note in read.pop("a" * 16)) == ["one\ntwo", "ü \N{SNOWMAN}"]
    assert read == {}
    notes.remove(ledger, written[0])
    assert notes.read(ledger, "trials", ["a" * 16]) == {"a" * 16: [written[1]]}
    assert notes.read(ledger, "sweeps", ["small", "other"])["small"][0].text == "of the sweep"


@pytest.mark.parametrize("text", ["", " \n", "x" * (LONGEST + 1)])
def test_a_note_without_text_or_with_too_much_is_refused(ledger, text) -> None:
    with pytest.raises(UsageError, match=f"allowed are 1 to {LONGEST}"):
        notes.add(ledger, "sweeps", "small", text)


def test_there_are_so_many_notes_and_no_more(ledger, caplog) -> None:
    for number in range(MOST_NOTES):
        notes.add(ledger, "sweeps", "small", f"note {number}")
    with pytest.raises(UsageError, match=f"small has {MOST_NOTES} notes already"):
        notes.add(ledger, "sweeps", "small", "again")
    put(ledger, {"time": "2026", "text": "somebody's"}, "19990101T000000-00000000.json")
    assert len(notes.read(ledger, "sweeps", ["small"])["small"]) == MOST_NOTES
    assert f"of {MOST_NOTES + 1} notes the {MOST_NOTES} newest are read" in caplog.text


def put(ledger, content: dict, name: str = NAME) -> None:
    folder = ledger.local / "notes" / "sweeps" / "small"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(checksummed.pack(content))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        json.dumps({"time": 1, "text": "x"}).encode(),
        json.dumps({"text": "x"}).encode(),
        checksummed.pack({"time": "t", "text": "x"}).replace(b'"x"', b'"y"'),
        b" " * (1 << 16),
    ],
)
def test_a_damaged_note_is_named_and_passed_over(ledger, content, caplog) -> None:
    put(ledger, {"time": "2026", "text": "x"}, "20260101T000000-00000000.json")
    put(ledger, {"time": "2026", "text": "x"})
    (ledger.local / "notes" / "sweeps" / "small" / NAME).write_bytes(content)
    assert [note.id for note in notes.read(ledger, "sweeps", ["small"])["small"]] == ["00000000"]
    assert NAME in caplog.text


def test_what_another_wrote_is_cut_off_and_obeyed_by_no_terminal(ledger) -> None:
    put(ledger, {"time": "9" * 99, "text": "\x1b[2J" + "x" * 5000, "who": "\x07" * 200, "later": "version"})
    (note,) = notes.read(ledger, "sweeps", ["small"])["small"]
    assert note.text.startswith("\\x1b[2Jx")
    assert len(note.text) <= LONGEST + 3
    assert len(note.time) <= 32
    assert note.who == "\\x07" * 80
