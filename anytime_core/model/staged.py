"""A network of stages, which run one after the other: see ``anytime_core.extend.StagedNetwork``.

Shapes: N images, C channels, S x S pixels, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from anytime_core.extend import ExtensionError
from anytime_core.model.network import with_gradient

Features = Tensor | tuple[Tensor, ...]
"""What a body gives, and the next one and its own head are given."""
Flow = tuple[float, float]


class Staged(nn.Module):
    """``bodies`` and ``heads`` are in order, one of each for each stage; a stage that does not predict has an empty
    head."""

    def __init__(self, stages: Sequence[tuple[nn.Module, nn.Module | None]], predicting: Sequence[int]) -> None:
        super().__init__()
        wrong = [number for number, stage in enumerate(stages, 1) if not _is_pair(stage)]
        if wrong:
            raise ExtensionError(f"stage {wrong[0]} is {stages[wrong[0] - 1]!r:.80}, must be a body and a head or None")
        with_head = [number for number, (_, head) in enumerate(stages, 1) if head is not None]
        if with_head != list(predicting) or not stages or stages[-1][1] is None:
            raise ExtensionError(
                f"of {len(stages)} stages those with a head are {with_head}, "
                f"must be predicting_stages {list(predicting)}, the last stage among them"
            )
        self.bodies = nn.ModuleList(body for body, _ in stages)
        self.heads = nn.ModuleList(head or nn.Identity() for _, head in stages)
        self.predicting = tuple(predicting)
        self.flow = dict.fromkeys(self.predicting, (1.0, 1.0))

    def forward(self, images: Tensor) -> Iterator[Tensor | None]:
        """Normalised images [N,C,S,S] -> the logits [N,K] of each stage, None of one that does not predict; none
        computed sooner than asked for."""
        x: Features = images
        for number, (body, head) in enumerate(zip(self.bodies, self.heads, strict=True), 1):
            x = body(x)
            if not isinstance(x, Tensor) and not _is_tuple(x):
                raise ExtensionError(
                    f"the body of stage {number} gives a {type(x).__name__}, must be a tensor or a tuple of tensors"
                )
            if number not in self.predicting:
                yield None
                continue
            to_head, to_rest = self.flow[number]
            yield head(_flowing(x, to_head))
            x = _flowing(x, to_rest)

    def let_flow(self, factors: Sequence[Flow]) -> None:
        """Sets, for each prediction, the factors of the gradients that its head and later stages send back."""
        self.flow = dict(zip(self.predicting, factors, strict=True))

    def up_to(self, prediction: int) -> Staged:
        """What the 1-based prediction needs, of this network's own modules, without the heads of those before it."""
        last = self.predicting[prediction - 1]
        bodies = [(body, None) for body in self.bodies[: last - 1]]
        return Staged([*bodies, (self.bodies[last - 1], self.heads[last - 1])], [last])


def _is_pair(stage: Any) -> bool:
    modules = isinstance(stage, Sequence) and len(stage) == 2
    return modules and isinstance(stage[0], nn.Module) and isinstance(stage[1], nn.Module | None)


def _is_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and len(x) > 0 and all(isinstance(each, Tensor) for each in x)


def _flowing(x: Features, factor: float) -> Features:
    if factor == 1:
        return x
    return with_gradient(x, factor) if isinstance(x, Tensor) else tuple(with_gradient(each, factor) for each in x)
