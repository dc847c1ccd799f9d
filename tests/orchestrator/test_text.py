"""What is shown can do a terminal no harm, and is all there."""

from __future__ import annotations

import copy
import pickle
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.text import FromEnvironment, shown, visible


@pytest.mark.parametrize(
    ("hostile", "written"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("done\rfailed\b\x7f\x00", r"done\rfailed\x08\x7f\x00"),
        ("a\u202egnp.exe\u2066\u2069", r"a\u202egnp.exe\u2066\u2069"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", r"a\u2028b\u2029c\x85d\x0be\x0cf"),
        ("a\u200bn\u200dn\u2060\ufeff\xad", r"a\u200bn\u200dn\u2060\ufeff\xad"),
        ("a\U000e0041\U000e007f", r"a\U000e0041\U000e007f"),
        ("\udcc2\udc9b2J", "\udcc2\\udc9b2J"),
        ("\ud800", r"\ud800"),
        ("two\r\nlines", "two\nlines"),
    ],
)
def test_what_a_terminal_obeys_or_nobody_sees_is_written_out(hostile: str, written: str) -> None:
    assert visible(hostile) == written == visible(written)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "two\nlines\tand a tab",
            "±2.63 % → (7,16) ─ …",
            "Übergröße, naïve, n\u0303o",
            "残差網路 네트워크",
            "شبكة عصبية",
        ),
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "👩\u200d🔬 👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥 👩🏽\u200d🚀",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "caf\udce9.yaml",
    ],
)
def test_text_of_people_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


@given(st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "L", "So", "Mn"))))
@settings(max_examples=200)
def test_no_control_character_is_left(text: str) -> None:
    left = {character for character in visible(text) if unicodedata.category(character) in ("Cc", "Zl", "Zp")}
    assert left <= {"\n", "\t"}
    assert not set(visible(text)) & set(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_of_what_the_environment_gave_names_its_variable(copied) -> None:
    value = copied(FromEnvironment("ray://head:10001", "RAY_ADDRESS"))
    assert (value, value.variable) == ("ray://head:10001", "RAY_ADDRESS")
