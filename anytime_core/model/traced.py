"""The stages of a network as files for ONNX Runtime, which torch's exporter writes. It imports onnxscript, which not
everybody has.

Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from anytime_core.errors import TrainerError
from anytime_core.inputs import FEATURES, NEXT, PIXELS, PROBABILITIES
from anytime_core.model.own import OwnModule
from anytime_core.model.staged import Features, Staged

Normalise = Callable[[Tensor], Tensor]
OPSET = 18
"""Of 2022, the exporter's own."""
EXAMPLES = 2
"""Images that pass through while it is written down; any number may pass through the file."""


class UntraceableError(TrainerError):
    """A stage that torch cannot write as an ONNX file: which, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFile:
    """``unit`` is 1-based, as of ``AnytimeModule``: the one that the stage is, or works towards. ``passes_on`` counts
    the tensors that the next stage is given."""

    unit: int
    predicts: bool
    passes_on: int
    content: bytes = field(repr=False)


class _Stage(nn.Module):
    """A stage as one function of tensors: probabilities, where it predicts, and what the next stage is given. What it
    is given itself is ``packed`` if it is a tuple, of one tensor too."""

    def __init__(
        self, before: Normalise | None, body: nn.Module, head: nn.Module | None, *, packed: bool, last: bool
    ) -> None:
        super().__init__()
        self.before, self.body, self.head, self.packed, self.last = before, body, head, packed, last

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        x: Features = given if self.packed else given[0]
        x = self.body(self.before(given[0]) if self.before else x)
        answer = () if self.head is None else (self.head(x).softmax(1),)
        return answer if self.last else (*answer, *_several(x))


def stage_files(network: OwnModule, normalise: Normalise, size: int) -> Iterator[StageFile]:
    """A file of each stage of a network of stages. The first takes pixels [N,C,S,S] and normalises them.

    Raises ImportError where onnxscript is missing, UntraceableError.
    """
    staged = network.module
    assert isinstance(staged, Staged)
    ahead = iter(network.predicting_units)
    x: Features = torch.zeros(EXAMPLES, network.channels, size, size)
    unit, count = next(ahead), len(staged.bodies)
    for number, (body, head) in enumerate(zip(staged.bodies, staged.heads, strict=True), 1):
        predicts, last, before = number in staged.predicting, number == count, normalise if number == 1 else None
        stage = _Stage(before, body, head if predicts else None, packed=isinstance(x, tuple), last=last).eval()
        inputs = [PIXELS] if before else _numbered(FEATURES, len(_several(x)))
        given = _several(x)
        with torch.inference_mode():
            x = body(before(x) if before else x)  # type: ignore[arg-type]
        passed_on = 0 if last else len(_several(x))
        outputs = [*([PROBABILITIES] if predicts else []), *_numbered(NEXT, passed_on)]
        try:
            content = _written(stage, given, inputs, outputs)
        except ImportError:
            raise
        except Exception as error:  # torch raises errors of many types
            raise UntraceableError(f"torch cannot write stage {number}: {_said(error)}") from error
        yield StageFile(unit=unit, predicts=predicts, passes_on=passed_on, content=content)
        unit = next(ahead, unit) if predicts else unit


def _several(x: Features) -> tuple[Tensor, ...]:
    return (x,) if isinstance(x, Tensor) else x


def _numbered(name: str, count: int) -> list[str]:
    return [name if not index else f"{name}_{index}" for index in range(count)]


def _said(error: BaseException) -> str:
    """The first line of what was wrong at first; the exporter wraps it in advice to whoever works on it."""
    while error.__cause__:
        error = error.__cause__
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # its loggers have levels of their own
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _written(stage: nn.Module, given: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> bytes:
    many = torch.export.Dim("images", min=1)
    with _quiet():
        program = torch.onnx.export(
            stage,
            tuple(each.clone() for each in given),  # made in inference mode, which it cannot trace
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes={"given": tuple({0: many} for _ in given)},
        )
    assert program is not None
    graph = program.model_proto.graph
    if not all(value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)):
        raise UntraceableError(f"it is fixed to {EXAMPLES} images at once; use x.shape[0] in place of len(x)")
    content: bytes = program.model_proto.SerializeToString()
    return content
