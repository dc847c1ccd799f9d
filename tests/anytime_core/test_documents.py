"""Whatever a document holds, its reader gets what it asked for or a ValueError."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.documents import known, parse, typed


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str
    real: float
    kind: Literal["a", "b"] = "a"
    numbers: tuple[float, ...] = ()
    inner: tuple[Inner, ...] = ()
    words: Mapping[str, str] | None = None
    ready: bool = False
    anything: Any = None


WHOLE = Outer(name="x", real=1, numbers=(0.5, 2), inner=(Inner(number=3),), words={"a": "b"}, anything=[{}])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"[" * 10**6, "lists and objects"),
        (b"[" * 10**5 + b"]" * 10**5, "nested too deeply"),
        (b"[" + b"[]," * 10**6, "lists and objects"),
        (b'{"a": 1, "a": 2}', "a name twice"),
        (b"NaN", "no JSON"),
        (b"-Infinity", "no JSON"),
        (b"1e999", "too large"),
        (b"9" * 5000, "limit"),
        (b"\xff\xfe\xfd", "decode"),
        (b'"\x00"', "control character"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(content)


def test_numbers_that_are_none_are_read_where_they_may_be() -> None:
    assert parse(b'{"loss": [NaN, Infinity]}', exact=False)["loss"][1] == math.inf


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists, max_leaves=20))
def test_what_json_can_hold_comes_back(value: object) -> None:
    assert parse(json.dumps(value)) == value


def test_a_dataclass_comes_back_from_its_fields() -> None:
    assert typed(Outer, json.loads(json.dumps(asdict(WHOLE)))) == WHOLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": 1}, "name is '1', must be a text"),
        ({"name": None}, "name is 'None', must be a text"),
        ({"real": True}, "real is 'True', must be a whole number"),
        ({"real": 2**63}, "of at most 63 bits"),
        ({"real": "1"}, "real is '1'"),
        ({"kind": "c"}, "kind is 'c', must be one of a, b"),
        ({"kind": ["a"]}, "must be one of a, b"),
        ({"numbers": 1.0}, "numbers is '1.0'"),
        ({"numbers": [1.0, "2"]}, "numbers is "),
        ({"inner": [{"number": 1.0}]}, "number is '1.0'"),
        ({"inner": [{}]}, "number is missing"),
        ({"inner": {"number": 1}}, "inner is "),
        ({"words": {"a": 1}}, "words is "),
        ({"words": []}, "words is "),
        ({"ready": 1}, "must be true or false"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_a_field_of_another_type_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        typed(Outer, asdict(WHOLE) | change)


@pytest.mark.parametrize("values", [None, [], "name", 1, {}, {"name": "x"}])
def test_what_is_no_such_object_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"must be an object|is missing"):
        typed(Outer, values)


def test_what_a_later_version_adds_can_be_left_out() -> None:
    assert typed(Inner, known(Inner, {"number": 1, "new": 2})) == Inner(number=1)
