"""Work on static tensors made again on a CPU as a CUDA graph makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anytime_core.model import graphs


class Calls(TorchDispatchMode):
    """The calls of some work, to be made again as a CUDA graph makes them: on the tensors they had, with the numbers
    that Python gave them then, into the memory of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = call(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in self._tensors((args, kwargs))}
        fresh = [one for one in self._tensors(result) if one.untyped_storage().data_ptr() not in given]
        if fresh or call._schema.is_mutable:  # all others are views
            self.made.append((call, args, kwargs or {}, fresh))
        return result

    @torch.no_grad()
    def again(self) -> None:
        for call, args, kwargs, results in self.made:
            for kept, result in zip(results, self._tensors(call(*args, **kwargs)), strict=bool(results)):
                kept.copy_(result)

    @staticmethod
    def _tensors(values: Any) -> list[torch.Tensor]:
        return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class EmulatedGraph:
    """In the place of ``graphs.Graph``, on a CPU."""

    def __init__(self, work: Callable[[], None], state: Sequence[torch.Tensor]) -> None:
        for _ in range(graphs.WARM_UPS):
            graphs._undone(work, state)
        self._calls = Calls()
        graphs._undone(partial(self._captured, work), state)  # capturing does nothing, and is done here

    def _captured(self, work: Callable[[], None]) -> None:
        with self._calls:
            work()

    def __call__(self) -> None:
        self._calls.again()
