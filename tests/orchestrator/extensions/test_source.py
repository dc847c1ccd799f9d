"""What Python code says has one hash however it looks, and another hash for whatever it says otherwise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.extensions.finding import find
from orchestrator.extensions.source import imports_of, source_of

LINES = [
    "import math",
    "class Ramp:",
    "    power: float = 1.5",
    "    def weights(self, costs, fraction):",
    "        if fraction > 0.5:",
    '            return ["end", *costs]',
    "        return [(0.01 + fraction * cost) ** self.power for cost in costs]",
]
SOURCE = source_of({"": "\n".join(LINES)})


def of(*lines: str) -> str:
    return source_of({"": "\n".join(lines)})


@given(st.lists(st.sampled_from(["", "# a comment", "  # further in", "\t"]), min_size=len(LINES)), st.booleans())
def test_comments_and_blank_lines_say_nothing(between: list[str], trailing: bool) -> None:
    woven = [text for line, extra in zip(LINES, between, strict=False) for text in (line + "  # x" * trailing, extra)]
    assert of(*woven) == SOURCE


SAME = {
    "docstrings": {
        1: 'class Ramp:\n    """Rises."""',
        3: "    def weights(self, costs, fraction):\n        '''For all.'''",
    },
    "quotes": {5: "            return ['end', *costs]"},
    "line breaks": {6: "        return [\n  (0.01 + fraction\n * cost) ** self.power\n for cost in costs\n ]"},
    "brackets": {6: "        return ([((0.01 + (fraction * cost))) ** (self.power) for cost in costs])"},
    "numbers as they are read": {2: "    power: float = 1.50"},
    "backslashes": {6: "        return [(0.01 + fraction * cost) \\\n ** self.power for cost in costs]"},
}
OTHER = {
    "formula": {6: "        return [(0.02 + fraction * cost) ** self.power for cost in costs]"},
    "order of operations": {6: "        return [0.01 + fraction * cost ** self.power for cost in costs]"},
    "default": {2: "    power: float = 2"},
    "type of a default": {2: "    power: int = 1.5"},
    "text": {5: '            return ["End", *costs]'},
    "comparison": {4: "        if fraction >= 0.5:"},
    "name": {1: "class Ramps:"},
    "import": {0: "import cmath as math"},
}


def changed(lines: dict[int, str]) -> str:
    return of(*(lines.get(number, line) for number, line in enumerate(LINES)))


@pytest.mark.parametrize("lines", SAME.values(), ids=SAME)
def test_what_only_looks_otherwise_is_the_same(lines: dict[int, str]) -> None:
    assert changed(lines) == SOURCE


@pytest.mark.parametrize("lines", OTHER.values(), ids=OTHER)
def test_what_says_otherwise_is_another(lines: dict[int, str]) -> None:
    assert changed(lines) != SOURCE


@given(st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.booleans() | st.none())
def test_a_constant_is_told_from_all_others(value: object) -> None:
    assert (of(f"x = {value!r}") == of("x = 1")) == (type(value) is int and value == 1)


def test_a_name_that_is_only_a_docstring_needs_no_body() -> None:
    assert of("class A:", '    """Says."""') == of("class A:", "    pass")


def test_a_module_counts_with_its_name() -> None:
    assert source_of({"": "x = 1", "a": "y = 2"}) != source_of({"": "x = 1", "b": "y = 2"})
    assert source_of({"a": "y = 2", "": "x = 1"}) == source_of({"": "x = 1", "a": "y = 2"})


@pytest.mark.parametrize(
    "encoded",
    [
        b"x = 1\r\ny = 'a'\r\n",
        "\ufeffx = 1\ny = 'a'\n".encode(),
        "\ufeffx = 1\r\n# é\r\ny = 'a'\r\n".encode(),
        b"x = 1\ry = 'a'\r",
    ],
    ids=["CRLF", "BOM", "both", "CR"],
)
def test_a_file_of_another_editor_is_the_same(encoded: bytes, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_bytes(b"x = 1\ny = 'a'\n")
    (tmp_path / "edited.py").write_bytes(encoded)
    assert find("edited.py", tmp_path).source == find("plain.py", tmp_path).source


def test_a_source_is_the_same_in_each_version_of_python() -> None:
    """Known, so that an upgrade that moved it, and with it all ids, would show."""
    assert SOURCE == "0e0322ca4b69"


def test_imports_are_found_anywhere_and_by_their_whole_names() -> None:
    text = "import a.b, c\nfrom .d import e\nfrom . import f\ndef g():\n    from ..h import i\n    import j as k"
    wanted = ["a.b", "c", "p.q.d", "p.q.d.e", "p.q", "p.q.f", "p.h", "p.h.i", "j"]
    assert sorted(imports_of(text, "p.q.m")) == sorted(wanted)
    assert imports_of("from .d import e", "p.q", package=True) == ["p.q.d", "p.q.d.e"]


def test_every_kind_of_statement_has_words() -> None:
    """The trainer's own code, which has most of them: hashed twice alike, and unlike once a number has changed."""
    text = (Path(ast.__file__)).read_text(encoding="utf-8")
    assert of(text) == of(ast.unparse(ast.parse(text)))
