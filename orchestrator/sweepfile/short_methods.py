"""How a sweep file may write a method short: ``aann`` and ``{strategy: aann, gamma: 2}``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from anytime_core.config import STRATEGIES, known_parts
from orchestrator.sweepfile.document import given


def strategies() -> dict[str, Any]:
    """By name, those of active extensions too."""
    return {**STRATEGIES, **known_parts("strategy")}


def written_out(value: Any, regimes: Collection[str], own: Collection[str]) -> Any:
    """The method as ``JointMethod`` and the others read it. A name alone is that of a strategy, or of one of the
    ``regimes``. Beside ``strategy: NAME`` may stand the parameters of that strategy, where no field of a method, which
    are ``own``, has their name. Raises ValueError for a name that is none."""
    if isinstance(value, str):
        return _named(value, regimes)
    if not isinstance(value, dict) or not isinstance(name := value.get("strategy"), str):
        return value
    known = {field.name for field in fields(strategies()[name])} if name in strategies() else set()
    beside = {key: item for key, item in value.items() if key in known and key not in own}
    if not beside:
        return value
    rest = {key: item for key, item in value.items() if key not in beside}
    return rest | {"strategy": {"name": name, **beside}}


def _named(name: str, regimes: Collection[str]) -> dict[str, str]:
    if name in strategies():
        return {"strategy": name}
    if name in regimes:
        return {"regime": name}
    allowed = ", ".join([*strategies(), *(regime for regime in regimes if regime not in strategies())])
    raise ValueError(f"no strategy or regime is named {given(name)}; allowed: {allowed}")
