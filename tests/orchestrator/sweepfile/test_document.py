"""A YAML file is read with the line of every key, or refused in one message; it never hangs and never crashes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import SweepError, UsageError
from orchestrator.sweepfile.document import Document, Fault, read

TEXT = """\
# a comment

name: small
networks:
  - {n: 2, c: 8}
  - n: 3
    c: 8
training: {steps: 44,
           momentum: 0.9}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sweep.yaml"


def read_text(path: Path, text: str) -> Document:
    path.write_text(text, encoding="utf-8")
    return read(path)


def refusal(path: Path, text: str) -> str:
    """What the user sees, less the path."""
    with pytest.raises(SweepError) as caught:
        read_text(path, text)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# Lines


def test_every_key_has_its_line(path) -> None:
    document = read_text(path, TEXT)
    assert document.content["networks"] == [{"n": 2, "c": 8}, {"n": 3, "c": 8}]
    assert document.lines == {
        (): 3,
        ("name",): 3,
        ("networks",): 4,
        ("networks", "0"): 5,
        ("networks", "0", "n"): 5,
        ("networks", "0", "c"): 5,
        ("networks", "1"): 6,
        ("networks", "1", "n"): 6,
        ("networks", "1", "c"): 7,
        ("training",): 8,
        ("training", "steps"): 8,
        ("training", "momentum"): 9,
    }


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("networks", 1, "c"), 7),
        (("networks", 1, "period"), 6),  # not there: the line of what is around it
        (("networks", 7, "n"), 4),
        (("seeds", 0), 3),
    ],
)
def test_a_fault_is_on_the_line_of_its_key_or_of_the_nearest_around_it(path, key, line) -> None:
    fault = read_text(path, TEXT).fault(key, "is wrong")
    assert fault == Fault(line, tuple(map(str, key)), "is wrong")
    assert str(fault) == f"line {line}: {'.'.join(map(str, key))}: is wrong"


def test_faults_are_listed_in_the_order_of_the_file_each_once(path) -> None:
    document = read_text(path, TEXT)
    faults = [document.fault(key, "is wrong") for key in (("training", "steps"), ("name",), ("name",), ())]
    with pytest.raises(SweepError) as caught:
        document.refuse(faults)
    assert str(caught.value) == (
        f"{path}: 3 faults\n  line 3: is wrong\n  line 3: name: is wrong\n  line 8: training.steps: is wrong"
    )
    document.refuse([])


# Keys given twice


def test_all_keys_given_twice_are_refused_with_both_lines(path) -> None:
    text = "name: a\nnetworks: [{n: 1, n: 2}]\nname: b\ntraining:\n  steps: 1\n  momentum: 0\n  steps: 2\n"
    assert refusal(path, text) == (
        "3 faults\n"
        "  line 2: networks.0.n: is given twice, first on line 2\n"
        "  line 3: name: is given twice, first on line 1\n"
        "  line 7: training.steps: is given twice, first on line 5"
    )


def test_the_same_key_in_two_mappings_is_given_once_each(path) -> None:
    assert read_text(path, "a: {n: 1}\nb: {n: 1, a: 1}\n").content == {"a": {"n": 1}, "b": {"n": 1, "a": 1}}


# Aliases and merge keys


def test_aliases_stand_for_what_they_name(path) -> None:
    document = read_text(path, "a: &a {n: 1}\nb: *a\nc: [*a, *a]\n")
    assert document.content == {"a": {"n": 1}, "b": {"n": 1}, "c": [{"n": 1}, {"n": 1}]}
    assert document.fault(("b", "n"), "").line == 2
    assert document.fault(("c", 1, "n"), "").line == 1  # an item has no key; where its value is written


def test_a_merged_mapping_gives_way_to_the_keys_beside_it(path) -> None:
    document = read_text(path, "a: &a {n: 1, c: 2}\nb: {<<: *a, n: 3}\nc: {n: 4, <<: [*a, {d: 5}]}\n")
    assert document.content["b"] == {"n": 3, "c": 2}
    assert document.content["c"] == {"n": 4, "c": 2, "d": 5}


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "&a\nb: {c: *a}\n", "a: &a {<<: *a}\n", "&a {? *a : 1}\n"])
def test_an_alias_of_what_is_around_it_is_refused(path, text) -> None:
    message = "holds more than 100,000 values with its aliases, or one that holds itself"
    assert refusal(path, text) == f"1 fault\n  line 1: {message}"


def bomb(around: str, inner: str) -> str:
    """Each of 30 lines holds the one before nine times."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{i}: &a{i} {around.format(', '.join([f'*a{i - 1}'] * 9))}" for i in range(1, 31)]
    return "\n".join([*lines, inner.format("*a30")])


@pytest.mark.parametrize(
    ("around", "inner"),
    [("[{}]", "name: {}"), ("{{<<: [{}]}}", "name: {}"), ("[{}]", "? {}\n: 1"), ("[{}]", "{} : 1")],
    ids=["a value", "a merged mapping", "a complex key", "a key"],
)
def test_an_alias_bomb_is_refused_at_once(path, around, inner) -> None:
    began = time.monotonic()
    assert "holds more than 100,000 values with its aliases" in refusal(path, bomb(around, inner))
    assert time.monotonic() - began < 2


def test_a_long_file_is_read(path) -> None:
    assert len(read_text(path, "".join(f"- {{n: {i}, c: 8}}\n" for i in range(2000))).content) == 2000


# What is not YAML


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "line 2, column 2: expected ',' or ']', but got ':'"),
        ("a:\n\t- b\n", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: *b\n", "line 1, column 4: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("? [a, b]\n: c\n", "line 1, column 3: found unhashable key"),
        (
            "a: !!python/object/apply:os.abort []\n",
            "line 1, column 4: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.abort'",
        ),
        ("a: 1\nb: \0\n", "line 2: the character '\\x00' is not allowed"),
        ("[" * 1500, "it is nested too deeply"),
        ("a: !!bool maybe\n", "a value does not fit its tag (KeyError: 'maybe')"),
        ("a: !!int ''\n", "a value does not fit its tag (IndexError: string index out of range)"),
        (
            "a: !!timestamp soon\n",
            "a value does not fit its tag (AttributeError: 'NoneType' object has no attribute 'groupdict')",
        ),
        ("a: 2001-13-45\n", "a value does not fit its tag (ValueError: month must be in 1..12)"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(path, text, message) -> None:
    assert refusal(path, text) == f"is not valid YAML: {message}"


@pytest.mark.parametrize("number", ["9" * 21, "0x" + "f" * 5000, ":".join(["1"] * 3000), "0b" + "1" * 70])
def test_a_number_that_no_machine_holds_is_refused(path, number) -> None:
    assert refusal(path, f"a: 1\nb: {{c: {number}}}\n") == (
        f"1 fault\n  line 2: b.c: is a number of {len(number)} characters; allowed: 20"
    )
    assert read_text(path, f"a: {2**63 - 1}\nb: 'x{number}'\n").content["a"] == 2**63 - 1


def test_what_cannot_be_read_is_told_with_its_reason(path, tmp_path) -> None:
    path.write_bytes("name: schön\n".encode("latin-1"))
    for unreadable, reason in (
        (path, "it is not UTF-8 text"),
        (tmp_path / "missing.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (path / "below.yaml", "Not a directory"),
    ):
        with pytest.raises(UsageError) as caught:
            read(unreadable)
        assert str(caught.value) == f"{unreadable}: cannot be read: {reason}"
        assert caught.value.exit_code == 2


def test_utf8_is_read_with_and_without_a_byte_order_mark(path) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes("name: schön\n".encode(encoding))
        assert read(path).content == {"name": "schön"}


def test_an_empty_file_is_an_empty_document(path) -> None:
    for text in ("", "# only a comment\n", "---\n", "~\n"):
        assert read_text(path, text).content is None


# Punctuation that means something to YAML, and everything else
MARKS = [*"[]{}:,-?&*!|>'\"%@`#~<= \n\t"]
PIECES = st.sampled_from([*MARKS, "<<", "a", "&a ", "*a", "!!int ", "!!set ", "1", ": ", "\n  "])


def read_or_refused(path: Path) -> Document:
    """One without lines where it is refused."""
    try:
        return read(path)
    except UsageError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    return Document(path, None)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_read_or_refused(tmp_path_factory, text) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="ignore", newline="")
    document = read_or_refused(path)
    assert all(1 <= line <= len(text.splitlines()) + 1 for line in document.lines.values())


@settings(max_examples=100)
@given(st.binary())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    read_or_refused(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [1, 010]", "line 1: seeds.1: given 010, which YAML reads as 8, in eights; write 10, or 8"),
        ("seeds: [001]", "line 1: seeds.0: given 001, which YAML reads as 1, in eights; write 1"),
        ("rates:\n  010: 0.1", "line 2: rates.010: given 010, which YAML reads as 8, in eights; write 10, or 8"),
        ("seeds: [1:30]", "line 1: seeds.0: given 1:30, which YAML reads as 90, in sixties; write 90"),
        ("after: 15:00", "line 1: after: given 15:00, which YAML reads as 900, in sixties; write 900"),
        ("after: 1:30.5", "line 1: after: given 1:30.5, which YAML reads as 90.5, in sixties; write 90.5"),
    ],
)
def test_a_number_that_yaml_reads_otherwise_than_people_is_refused(tmp_path, text, message) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(SweepError) as caught:
        read(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["a: 0", "a: 08", "a: 0x10", "a: 10", "a: '010'", "a: 0.5", "a: 1_000", "a: v1:30"])
def test_other_numbers_and_texts_are_left_alone(tmp_path, text) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    assert read(path).content


@pytest.mark.parametrize("text", ["a: {'(2,8)': 1}", 'a: {"8)": 1}', "a:\n  (2,8): 1\n  (2: 1", "a: {f(2): 1}"])
def test_a_key_with_brackets_is_left_alone_where_yaml_keeps_it_whole(tmp_path, text) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    assert read(path).content


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("{(2,8): 1, (3,8): 2}", ["(2", "(3"]), ("{(2,8): 1}", ["(2"]), ("{8): 1, 8): 2}", ["8)"])],
)
def test_a_key_that_yaml_breaks_at_its_comma_is_refused(tmp_path, text, pieces) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"a:\n  b: {text}")
    with pytest.raises(SweepError) as caught:
        read(path)
    advice = "in braces YAML ends a key at its comma; quote the whole key, or write one key a line, without braces"
    assert str(caught.value).splitlines()[1:] == [f"  line 2: a.b.{piece}: {advice}" for piece in pieces]


def test_a_key_with_what_nobody_can_see_is_shown_as_such() -> None:
    assert str(Fault(1, ("\N{NO-BREAK SPACE}seeds",), "unknown key")) == r"line 1: '\xa0seeds': unknown key"
