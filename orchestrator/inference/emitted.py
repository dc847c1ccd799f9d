"""The stages of an anytime ResNet as files for ONNX Runtime, written node by node after its modules.

torch's own exporter takes a second a unit, and writes what runs slower: see
``docs/decisions/inference.md``. ``onnx`` is imported where it writes, as an extra that not everybody has.

Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor, nn

from anytime_core.inputs import FEATURES, NEXT, PIXELS, PROBABILITIES
from anytime_core.model.network import AnytimeResNet, Unit
from anytime_core.model.stages import Stage, stages
from anytime_core.model.traced import StageFile
from anytime_core.trained import TrainedNetwork
from orchestrator.errors import UsageError

OPSET, IR_VERSION = 17, 8
"""Of 2022: older runtimes read them too."""
TO_INSTALL = "to install: pip install -e '.[export]'"


@dataclass(slots=True)
class _Graph:
    """Nodes in the order in which they run, and the arrays that they use. Names are numbers."""

    nodes: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)

    def array(self, values: Tensor | np.ndarray) -> str:
        name = f"array_{len(self.arrays)}"
        plain = values.detach().cpu().contiguous().numpy() if isinstance(values, Tensor) else values
        self.arrays.append(_onnx("numpy_helper").from_array(plain, name))
        return name

    def node(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        output = to or f"value_{len(self.nodes)}"
        self.nodes.append(_onnx("helper").make_node(kind, list(inputs), [output], **attributes))
        return output


def _onnx(part: str) -> Any:
    try:
        return import_module(f"onnx.{part}")
    except ImportError as error:
        raise UsageError(f"export needs onnx ({error}); {TO_INSTALL}") from error


def stage_files(network: TrainedNetwork) -> Iterator[StageFile]:
    """A file of each unit of an anytime ResNet. Raises UsageError where ``onnx`` is missing."""
    assert isinstance(network.network, AnytimeResNet)
    cut = stages(network.network)
    for stage in cut:
        last = stage is cut[-1]
        content = _model(network, stage, last)
        yield StageFile(unit=stage.unit, predicts=stage.predicts, passes_on=0 if last else 1, content=content)


def _model(network: TrainedNetwork, stage: Stage, last: bool) -> bytes:
    graph, first = _Graph(), stage.unit == 1
    x = source = PIXELS if first else FEATURES
    if first:
        x = graph.node("Div", graph.node("Sub", x, graph.array(network.mean)), graph.array(network.std))
    for module in (*stage.before, stage.body):
        x = _emit(graph, module, x)
    outputs = []
    if not last:
        outputs.append(graph.node("Identity", x, to=NEXT))
    if stage.weight is not None and stage.bias is not None:
        outputs.append(_head(graph, x, stage.weight, stage.bias))
    return _serialised(graph, f"unit {stage.unit}", source, outputs)


def _head(graph: _Graph, x: str, weight: Tensor, bias: Tensor) -> str:
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", graph.node("Relu", x)))
    logits = graph.node("Gemm", pooled, graph.array(weight), graph.array(bias))
    return graph.node("Softmax", logits, to=PROBABILITIES, axis=1)


def _serialised(graph: _Graph, name: str, source: str, outputs: Sequence[str]) -> bytes:
    helper, checker = _onnx("helper"), _onnx("checker")
    shapes = {PIXELS: 4, FEATURES: 4, NEXT: 4, PROBABILITIES: 2}
    values = {
        name: helper.make_tensor_value_info(name, 1, [f"{name}_{axis}" for axis in range(shapes[name])])  # 1: float32
        for name in (source, *outputs)
    }
    made = helper.make_graph(
        graph.nodes, name, [values[source]], [values[name] for name in outputs], initializer=graph.arrays
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


# Modules


def _emit(graph: _Graph, module: nn.Module, x: str) -> str:
    """The nodes of a module in evaluation mode; the name of what they give."""
    kind = next((kind for kind in type(module).__mro__ if kind in EMITTERS), None)
    if kind is None:
        allowed = ", ".join(kind.__name__ for kind in EMITTERS)
        raise ValueError(f"a {type(module).__name__} cannot be exported, only {allowed}")
    return EMITTERS[kind](graph, module, x)


def _sequential(graph: _Graph, module: Any, x: str) -> str:
    for part in module:
        x = _emit(graph, part, x)
    return x


def _unit(graph: _Graph, module: Any, x: str) -> str:
    residual = _emit(graph, module.residual, x)
    return graph.node("Add", _shrunk(graph, x, module) if module.shrinks else x, residual)


def _shrunk(graph: _Graph, x: str, module: Any) -> str:
    """As ``network.shrunk``: 2x2 averages, those at the edge of what there is, among channels of zeros."""
    before = module.residual[0].num_features
    padding = np.array([0, before // 2, 0, 0, 0, before - before // 2, 0, 0], np.int64)
    averages = graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    return graph.node("Pad", averages, graph.array(padding))


def _convolution(graph: _Graph, module: Any, x: str) -> str:
    sides = list(module.padding)
    inputs = [module.weight, *([] if module.bias is None else [module.bias])]
    return graph.node(
        "Conv",
        x,
        *map(graph.array, inputs),
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=sides + sides,
    )


def _normalisation(graph: _Graph, module: Any, x: str) -> str:
    inputs = (module.weight, module.bias, module.running_mean, module.running_var)
    return graph.node("BatchNormalization", x, *map(graph.array, inputs), epsilon=module.eps)


def _relu(graph: _Graph, module: Any, x: str) -> str:
    return graph.node("Relu", x)


EMITTERS: dict[type[nn.Module], Callable[[_Graph, Any, str], str]] = {
    nn.Sequential: _sequential,
    Unit: _unit,
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _normalisation,
    nn.ReLU: _relu,
}
