"""JSON that somebody else may have written, and the dataclasses it stands for. Standard library only.

Whatever a document holds, a reader gets a value of the type that it asked for, or a ValueError in a moment.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

PARTS = 1 << 18
"""Lists and objects in a document whose reader names no other limit: an empty one takes 25 times its bytes in memory.
Brackets in texts count, too."""
LARGEST = 1 << 63
"""No whole number is as large: a count, a time in nanoseconds, a cost."""

Value = TypeVar("Value")


def parse(content: bytes | str, most: int = PARTS, *, exact: bool = True) -> Any:
    """What a JSON document holds.

    Raises ValueError for what is no JSON, is nested too deeply, or holds more than ``most`` lists and objects; where it
    must be ``exact``, which takes longer, also for a name twice in an object, NaN, infinity, and a number too large for
    a float.
    """
    plain = content.encode() if isinstance(content, str) else content
    if (parts := plain.count(b"[") + plain.count(b"{")) > most:
        raise ValueError(f"it holds {parts} lists and objects, of at most {most}")
    try:
        if not exact:
            return json.loads(content)
        return json.loads(content, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:80]} is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it holds a name twice")
    return made


def typed(kind: type[Value], values: Any) -> Value:
    """A dataclass from its fields as JSON has them: lists in place of tuples, objects in place of dataclasses.

    Raises ValueError for other types, whole numbers of more than 63 bits, and fields that are missing or unknown.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"it is a {type(values).__name__}, must be an object")
    hints = _fields(kind)  # type: ignore[arg-type]
    if unknown := [str(name) for name in values if name not in hints]:
        raise ValueError(f"{unknown[0][:80]!r} is unknown, allowed: {', '.join(hints)}")
    if missing := [name for name, (_, needed) in hints.items() if needed and name not in values]:
        raise ValueError(f"{missing[0]} is missing")
    try:
        return kind(**{name: _as(hints[name][0], value) for name, value in values.items()})
    except TypeError as error:
        wrong = [name for name, value in values.items() if not _fits(hints[name][0], value)]
        raise ValueError(f"{wrong[0]} is {str(values[wrong[0]])[:80]!r}, {error}" if wrong else str(error)) from error


def known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some values that are fields: a later version may write more than this one knows."""
    return {name: values[name] for name in _fields(kind) if name in values}  # type: ignore[arg-type]


@lru_cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """By name, the type of each field and whether it must be given."""
    hints = get_type_hints(kind)
    return {it.name: (hints[it.name], it.default is MISSING and it.default_factory is MISSING) for it in fields(kind)}


def _fits(hint: Any, value: Any) -> bool:
    try:
        _as(hint, value)
    except (TypeError, ValueError):
        return False
    return True


def _as(hint: Any, value: Any) -> Any:
    """The value as one of that type. Raises TypeError."""
    if reader := _READERS.get(hint):
        return reader(value)
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return typed(hint, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return next(_as(each, value) for each in arguments if each is arguments[-1] or _fits(each, value))
    if origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
        raise TypeError(f"must be one of {', '.join(arguments)}")
    if origin is tuple and isinstance(value, list | tuple):
        return _items(arguments[0], value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {_text(name): _as(arguments[1], each) for name, each in value.items()}
    raise TypeError(f"must be {hint}")


def _items(hint: Any, values: list[Any] | tuple[Any, ...]) -> tuple[Any, ...]:
    if hint is float and set(map(type, values)) <= {float}:  # most are, and there are many
        return tuple(values)
    return tuple(_as(hint, value) for value in values)


def _whole(value: Any) -> int:
    if type(value) is int and -LARGEST <= value < LARGEST:
        return value
    raise TypeError("must be a whole number of at most 63 bits")


def _number(value: Any) -> float:
    return value if type(value) is float else _whole(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("must be a text")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError("must be true or false")


def _nothing(value: Any) -> None:
    if value is not None:
        raise TypeError("must be null")


def _anything(value: Any) -> Any:
    return value


_READERS: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: _number,
    str: _text,
    bool: _truth,
    type(None): _nothing,
    Any: _anything,
}
