"""The sweep file as a JSON schema, by which editors complete and check.

``orchestrate`` itself goes by ``schema``, and knows more: what fits together, and what extensions add.
"""

from __future__ import annotations

from typing import Any

from orchestrator.sweepfile.fields import HIDDEN, OWN_KEYS
from orchestrator.sweepfile.schema import SweepFile

TEXTS = {"Price", "Carbon", "Comparison"}
"""What a file holds as a text."""
WHOLE = {"AtMostInAll", "CheckedReport", "Decide", "Keep", "Notify", "Resources", "Retries", "TrainingConfig", "Tune"}
"""Sections that have just these keys, and no short form. Others may be a name alone, or an extension's."""


OWN: dict[str, dict[str, Any]] = {
    "DataConfig": {**{key: {} for key in OWN_KEYS}, "validation": {"type": ["integer", "string"]}},
    "OptMethod": {"at": {"type": ["array", "string"]}},
}
"""What a file may say of a field beside what its values are read into."""


def json_schema() -> dict[str, Any]:
    """Without active extensions: their parts are allowed anywhere, by their names, and not looked into."""
    made = SweepFile.model_json_schema()
    definitions = {name: _definition(name, part) for name, part in made.pop("$defs").items()}
    sections = {**made["properties"], "$schema": {"type": "string"}}
    decide = definitions["Decide"]["properties"]
    decide["level"] = {"type": ["string", "number"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_loosened(made | {"properties": sections, "additionalProperties": False}),
        "$defs": _loosened(definitions),
    }


def _definition(name: str, part: dict[str, Any]) -> dict[str, Any]:
    if name in TEXTS:
        return {"type": "string", "title": name}
    if name in WHOLE:
        return {**part, "additionalProperties": False}
    part = {key: value for key, value in part.items() if key != "required"}
    own: dict[str, Any] = OWN.get(name, {})
    part["properties"] = {key: it for key, it in part["properties"].items() if key not in HIDDEN} | own
    return {"anyOf": [part, {"type": "string"}, {"type": "object", "required": ["name"]}]}


def _loosened(value: Any) -> Any:
    """One alternative is enough, and a name may mean several. Defaults are those of Python, not of a file."""
    if isinstance(value, list):
        return [_loosened(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {"anyOf" if key == "oneOf" else key: item for key, item in value.items() if key != "discriminator"}
    return {key: _loosened(item) for key, item in renamed.items() if key != "default" or not isinstance(item, dict)}
