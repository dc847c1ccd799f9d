"""Work on static tensors, done call by call or replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from anytime_core.errors import ConfigError

Mode = Literal["auto", "eager", "graph"]
WARM_UPS = 3


def mode_on(device: torch.device, mode: Mode) -> Literal["eager", "graph"]:
    """``auto`` is a graph on CUDA and eager elsewhere. Raises ConfigError."""
    if mode not in get_args(Mode):
        raise ConfigError(f"mode is {mode!r}, must be one of {get_args(Mode)}")
    if mode == "graph" and device.type != "cuda":
        raise ConfigError(f"mode is 'graph' on {device.type}; only CUDA has graphs")
    return "eager" if mode == "eager" or device.type != "cuda" else "graph"


class Graph:
    """``work`` as one CUDA graph with a memory pool of its own. It must take nothing from the host and leave what it
    does in tensors that stay where they are. ``state`` is all that it changes: put back after the warm-ups, so that the
    first replay is the first time that it is done."""

    def __init__(self, work: Callable[[], None], state: Sequence[Tensor]) -> None:
        device = state[0].device
        warm_up, capture = _streams(device)
        with torch.cuda.device(device):  # which need not be the current one; what runs on another is not captured
            self._graph = torch.cuda.CUDAGraph()
            torch.cuda.empty_cache()  # what graphs of an earlier phase held, which other trials on the GPU may need
            draws = torch.cuda.get_rng_state(device)
            warm_up.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(warm_up):
                for _ in range(WARM_UPS):
                    _undone(work, state)
            torch.cuda.current_stream().wait_stream(warm_up)
            torch.cuda.set_rng_state(draws, device)  # the first replay is the first to draw
            # cuBLAS keeps a workspace for each stream, and the first to capture there has it in its own pool: the next
            # would use it too, and torch frees it with the first (pytorch issue 193402). So each gets one of its own.
            torch._C._cuda_clearCublasWorkspaces()
            with torch.cuda.graph(self._graph, stream=capture):
                work()

    def __call__(self) -> None:
        self._graph.replay()


class Replay:
    """Does the same work at every call: call by call, or with ``graph`` as one CUDA graph, which the first call
    captures. The work is handed in each time, as keeping it here would keep what it belongs to from being freed."""

    def __init__(self, graph: bool) -> None:
        self._graphed = graph
        self._graph: Graph | None = None

    def __call__(self, work: Callable[[], None], state: Callable[[], Sequence[Tensor]]) -> None:
        if not self._graphed:
            work()
            return
        if self._graph is None:
            self._graph = Graph(work, state())
        self._graph()

    def forget(self) -> None:
        """The next call captures anew: what the work does has changed."""
        self._graph = None


@cache
def _streams(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    """To warm up and to capture on, for all graphs: a trial of many phases has many, and torch 32 streams."""
    return torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@torch.no_grad()
def _undone(work: Callable[[], None], state: Sequence[Tensor]) -> None:
    """Does the work, and puts the state back as it was."""
    before = [tensor.clone() for tensor in state]
    with torch.enable_grad():
        work()
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)
