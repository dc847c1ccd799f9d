"""Every fault of a sweep file in words of ours, with its line; and the parts of a file that have none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Literal, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from anytime_core.config import (
    KINDS,
    PARTS,
    STRATEGIES,
    Ann,
    DataConfig,
    NetworkConfig,
    Part,
    TrainingConfig,
    WeightingConfig,
    known_parts,
)
from orchestrator.sweep.keep import Keep
from orchestrator.sweep.notify import Notify
from orchestrator.sweep.retries import Retries
from orchestrator.sweep.trial import MOST_UNITS, Resources
from orchestrator.sweepfile import parts
from orchestrator.sweepfile.deciding import AtMostInAll, Decide
from orchestrator.sweepfile.document import Document, Fault, Key, given, suggestion
from orchestrator.sweepfile.fields import DATA_KEYS, Dataset, Network, Training, Weights
from orchestrator.sweepfile.methods import AnyMethod, methods
from orchestrator.sweepfile.schema import CheckedReport, SweepFile
from orchestrator.sweepfile.tuning import Tune
from orchestrator.sweepfile.weights import SOUND_LISTS

FLAGS = ("flip", "compiled", "outcomes", "halving", "explorer")


def faults_of(document: Document) -> list[Fault]:
    """Every fault of a file but those between its parts."""
    if not isinstance(document.content, dict):
        return [document.fault((), f"must be a mapping with the keys {', '.join(SweepFile.model_fields)}")]
    wrong = list(_pydantic_faults(document))
    known = {fault.key for fault in wrong}
    return wrong + [fault for fault in _booleans(document, document.content, ()) if fault.key not in known]


def sound_items(document: Document, section: str) -> dict[Any, Any]:
    """The items of a section that have no fault of their own, by index or name."""
    part = document.content.get(section)
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return {key: value for key, item in items if (value := _sound(section, item))}


def sound_section(document: Document, section: str) -> Any:
    """What a section that holds for all trials says, or its default where it is not given; None if it has a fault."""
    if section not in document.content:
        return SweepFile.model_fields[section].get_default(call_default_factory=True)
    return _sound(section, document.content[section])


def _sound(section: str, value: Any) -> Any:
    with suppress(ValidationError):
        return TypeAdapter(READ[section]).validate_python(value, extra="ignore", context=SOUND_LISTS)


def part_in(
    document: Document, key: tuple[str | int, ...], part: type[Part], values: Mapping[str, Any]
) -> tuple[Part | None, list[Fault]]:
    """A part of an extension from the values of its fields, which stand in the mapping at ``key``; or their faults."""
    if wrong := list(_booleans(document, dict(values), tuple(map(str, key)))):
        return None, wrong
    try:
        return TypeAdapter(parts.without_name(part)).validate_python(values), []
    except ValidationError as error:
        inside = ({**details, "loc": (*key, *details["loc"])} for details in error.errors())
        return None, [_fault(document, cast(ErrorDetails, details)) for details in inside]


def _pydantic_faults(document: Document) -> Iterator[Fault]:
    wrong = []
    for extra in ("forbid", "ignore"):  # an unknown key hides what else is wrong with the mapping that it is in
        wrong += _refused(document, extra)
    # And so does a value of a wrong kind: without those there are, what else is there?
    known = {fault.key for fault in wrong}
    rest = Document(document.path, _without(document.content, known, ()), document.lines)
    emptied = {(name,) for name, section in rest.content.items() if not section and document.content[name]}
    return iter([*wrong, *(fault for fault in _refused(rest, "ignore") if fault.key not in known | emptied)])


def _refused(document: Document, extra: Literal["forbid", "ignore"]) -> list[Fault]:
    try:
        SweepFile.model_validate(document.content, extra=extra)
    except ValidationError as error:
        return [_fault(document, details) for details in error.errors()]
    return []


def _without(value: Any, keys: set[Key], path: Key) -> Any:
    """The content less what stands at these keys of mappings; a network cannot be without two of them."""
    if isinstance(value, dict):
        inner = {key: (*path, str(key)) for key in value}
        kept = {key: _without(item, keys, inner[key]) for key, item in value.items() if inner[key] not in keys}
        ours = path[:1] == ("networks",) and "name" not in value
        needed = {"n": MOST_UNITS, "c": 1} if ours else {}
        return {key: stand_in for key, stand_in in needed.items() if inner.get(key) in keys} | kept
    if isinstance(value, list):
        return [_without(item, keys, (*path, str(index))) for index, item in enumerate(value)]
    return value


def _booleans(document: Document, value: Any, path: Key) -> Iterator[Fault]:
    """Pydantic takes yes for 1."""
    if isinstance(value, bool) and path[-1] not in (*FLAGS, *parts.flags()):
        yield document.fault(
            path,
            f"given {value}; yes and no, true and false are allowed for {', '.join(FLAGS[:-1])} and {FLAGS[-1]} alone",
        )
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _booleans(document, item, (*path, str(key)))


def _fault(document: Document, details: ErrorDetails) -> Fault:
    """Pydantic's word for a fault, made ours: where it is, what was given, what is allowed."""
    location, context = details["loc"], details.get("ctx", {})
    key, said = _key(location, document.content, details["type"]), f"given {given(details['input'])}"
    match details["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument" | "invalid_key":
            message = f"unknown key{suggestion(str(location[-1]), _allowed_keys(location))}"
        case "missing" | "missing_argument":
            message = "is missing"
        case "value_error":
            message = str(context["error"])
        case "union_tag_invalid":
            kind = "regime" if "regime" in context["discriminator"] else key[-1]
            message = f"no {kind} is named {given(context['tag'])}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            needed = "have a 'name'" if isinstance(details["input"], dict) else "be a mapping"
            message = f"{said}; must {needed}"
        case "string_pattern_mismatch":
            message = f"{said}; must be letters, digits, '.', '_' and '-', a letter or digit first"
        case "dict_type" | "model_type" | "model_attributes_type" | "dataclass_type":
            message = f"{said}; must be a mapping"
        case "tuple_type":
            message = f"{said}; must be a valid list"
        case _:  # such as "Input should be a valid list"
            message = f"{said}; {re.sub('^[A-Z][a-z]+ should ', 'must ', details['msg'])}"
    return document.fault(key, message)


def _key(location: Sequence[str | int], content: Any, kind: str) -> list[str | int]:
    """The path of keys in the file: pydantic's location less the names it gives to the members of unions."""
    path: list[str | int] = []
    for place, part in enumerate(location):
        inside = isinstance(content, dict) and part in content
        inside |= isinstance(content, list) and isinstance(part, int) and part < len(content)
        if inside:
            content = content[part]
        if inside or (place == len(location) - 1 and kind.startswith("missing")):
            path.append(part)
    return path


def _allowed_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that the mapping around ``location`` may have."""
    kind = _kind(location[:-1])
    if kind is DataConfig:
        readers = KINDS["reader"].values()
        return [*DATA_KEYS, *dict.fromkeys(field.name for reader in readers for field in fields(reader))]  # type: ignore[arg-type]
    names = kind.model_fields if issubclass(kind, BaseModel) else (field.name for field in fields(kind))
    return list(names)


def _kind(location: Sequence[str | int]) -> type[Any]:
    """What the mapping at pydantic's ``location`` is read into."""
    match list(location):
        case ["methods", _, "joint", kind, *name] if kind in PARTS:
            return _part(str(kind), str(name[0]) if name else "")
        case ["methods", _, _, "tune"]:
            return Tune
        case ["decide", "at_most"]:
            return AtMostInAll
        case ["weights", *name]:
            return _part("weights", str(name[0]) if name else "")
        case ["methods", _, regime]:
            return methods()[str(regime)]
        case ["networks", _, str(name), *_] if name in known_parts("network"):
            return known_parts("network")[name]
        case [section, *_]:
            return SECTIONS[str(section)]
        case _:
            return SweepFile


def _part(kind: str, name: str) -> type[Any]:
    ours: type[Any] = WeightingConfig if kind == "weights" else STRATEGIES.get(name, Ann)
    parts: Mapping[str, type[Any]] = known_parts(kind)
    return parts.get(name, ours)


SECTIONS: dict[str, type[Any]] = {
    "networks": NetworkConfig,
    "datasets": DataConfig,
    "weights": WeightingConfig,
    "training": TrainingConfig,
    "resources": Resources,
    "keep": Keep,
    "retries": Retries,
    "notify": Notify,
    "decide": Decide,
    "report": CheckedReport,
}

READ: dict[str, Any] = {
    "networks": Network,
    "datasets": Dataset,
    "methods": AnyMethod,
    "weights": Weights,
    "training": Training,
    "seeds": SweepFile.model_fields["seeds"].rebuild_annotation(),
    "decide": Decide | None,
    "report": CheckedReport,
}
"""What a section, or each item of it, is read into."""
