"""What the code of an extension gives back, looked at before it is used: torch would spread a number of the wrong shape
over a whole vector without a word. Nothing here reads a tensor, so no step waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from anytime_core.config import Part
from anytime_core.errors import ConfigError


def shaped(part: Part, function: str, value: Any, shape: Sequence[int]) -> Tensor:
    """The value, which must be a tensor of that shape. Raises ConfigError."""
    if isinstance(value, Tensor) and tuple(value.shape) == tuple(shape):
        return value
    given = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
    raise ConfigError(f"{part.kind} {part.name}: {function} gives {given}, must give a tensor of shape {list(shape)}")


def started(part: Part, state: Any) -> dict[str, Tensor]:
    """A copy of the tensors that ``start`` gives by name. Raises ConfigError."""
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"{part.kind} {part.name}: start gives {state!r:.80}, must give tensors by name")
    return {name: value.clone() for name, value in state.items()}


def update(part: Part, state: Mapping[str, Tensor], changed: Any, function: str = "update") -> None:
    """Puts what ``update`` gives, or such a function, in the place of the tensors of the state, where they lie. Raises
    ConfigError."""
    if not isinstance(changed, Mapping) or not changed.keys() <= state.keys():
        given = ", ".join(map(str, changed)) if isinstance(changed, Mapping) else type(changed).__name__
        allowed = ", ".join(state) or "nothing"
        raise ConfigError(
            f"{part.kind} {part.name}: {function} gives {given}; start gives {allowed}, and no others change"
        )
    for name, value in changed.items():
        state[name].copy_(shaped(part, f"{function} of {name}", value, state[name].shape))
