"""JSON objects with a checksum that says whether they are as they were written: a flipped digit leaves valid JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"


def pack(content: Mapping[str, Any]) -> bytes:
    """Raises ValueError for a number that JSON has not, and for content with a ``sha256`` of its own."""
    if SEAL in content:
        raise ValueError(f"{SEAL} is the checksum's own name")
    return json.dumps({**content, SEAL: _digest(content)}, indent=1, allow_nan=False).encode()


def unpack(content: bytes) -> dict[str, Any]:
    """Raises ValueError for what is damaged. What an older version wrote has no checksum, and is taken as it is."""
    try:
        record = json.loads(content, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError(f"it is a {type(record).__name__}")
    seal = record.pop(SEAL, None)
    if seal is not None and seal != _digest(record):
        raise ValueError("checksum does not match")
    return record


def _digest(content: Mapping[str, Any]) -> str:
    """Of what is read back, whatever it was before: JSON makes lists of tuples, and text of numbers that are keys."""
    plain = json.loads(json.dumps(content, allow_nan=False))
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
