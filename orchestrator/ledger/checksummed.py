"""JSON objects with a checksum that says whether they are as they were written: a flipped digit leaves valid JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from anytime_core import documents

SEAL = "sha256"


def pack(content: Mapping[str, Any]) -> bytes:
    """Raises ValueError for a number that JSON has not, and for content with a ``sha256`` of its own."""
    if SEAL in content:
        raise ValueError(f"{SEAL} is the checksum's own name")
    return json.dumps({**content, SEAL: _digest(content)}, indent=1, allow_nan=False).encode()


def unpack(content: bytes, most: int = documents.PARTS) -> dict[str, Any]:
    """Raises ValueError for what is damaged, or holds more than ``most`` lists and objects. What an older version wrote
    has no checksum, and is taken as it is."""
    record = documents.parse(content, most)
    if not isinstance(record, dict):
        raise ValueError(f"it is a {type(record).__name__}")
    seal = record.pop(SEAL, None)
    if seal is not None and seal != _digest(record):
        raise ValueError("checksum does not match")
    return record


def _digest(content: Mapping[str, Any]) -> str:
    """Of what is read back, whatever it was before: JSON makes lists of tuples, and text of numbers that are keys."""
    try:
        plain = json.loads(json.dumps(content, allow_nan=False))
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:  # writing takes more of the stack than reading
        raise ValueError("it is nested too deeply") from error
    return hashlib.sha256(canonical.encode()).hexdigest()
