"""What Python code gives in the place of a sweep file, as the file would hold it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any


def plain(value: Any) -> Any:
    """Mappings, lists and what a YAML file knows, made anew: what the caller changes later changes nothing here.

    Ranges, tuples, sets, generators and arrays become lists, paths and fractions texts, numbers of NumPy Python's own.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value
