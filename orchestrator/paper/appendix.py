"""What appendix C of the paper says of feedback networks: what a prediction of theirs costs, and which sequences of
networks (EANN) inflate the cost less than four times."""

from __future__ import annotations

from itertools import pairwise

from anytime_core.config import NetworkConfig
from anytime_core.cost import network_costs
from anytime_core.networks import Feedback
from orchestrator.stats import eann
from orchestrator.table import Column, Entry, Table

CIFAR10 = 10, 3, 32
"""Classes, channels and pixels of a side."""
CHANNELS = (16, 32)
BLOCKS, MILLION = 3, 1e6
UNITS = 8
"""Of a ResNet, which the appendix says a prediction of a feedback network costs."""
BASES = (1.3, 1.4, 1.5, 2.0, 3.0)
CLAIMED, LEAST_BASE = 4, 1.4
"""The expected inflation stays below the first for bases from the second on."""


def predictions() -> Table:
    """What stands between two predictions inside a block, their own cost counted."""
    shown = []
    for c in CHANNELS:
        unit = _between(NetworkConfig(n=2, c=c), each=2)
        run = _between(Feedback(iterations=2, c=c), each=2)
        for block, (own, others) in enumerate(zip(run, unit, strict=True), 1):
            values = (c, block, others / MILLION, own / MILLION, own / others)
            shown.append(tuple(Entry(value=value) for value in values))
    return Table(
        name="feedback",
        title="Appendix C: millions of multiply-adds from one prediction to the next, on CIFAR-10",
        columns=(
            Column(name="c"),
            Column(name="block"),
            Column(name="ResNet, each unit"),
            Column(name="feedback, every two cells"),
            Column(name="times"),
        ),
        rows=tuple(shown),
        notes=(f"The appendix says {UNITS} times. Here the linear layers of predictions count too, which both have.",),
    )


def _between(network: NetworkConfig | Feedback, each: int) -> list[int]:
    """In each block, of ``each`` predictions, from the last but one to the last."""
    costs = [0, *network_costs(network, *CIFAR10)]
    steps = [after - before for before, after in pairwise(costs)]
    return [steps[each * block - 1] for block in range(1, BLOCKS + 1)]


def inflations() -> Table:
    """By the base of a sequence, what it spends on average and at most: times the optimum that it matches."""
    rows = ((base, eann.expected_inflation(base), eann.worst_inflation(base), _judged(base)) for base in BASES)
    return Table(
        name="inflation",
        title=f"Appendix C: from a base of {LEAST_BASE:g} on, an EANN costs less than {CLAIMED} optima on average",
        columns=(
            Column(name="base"),
            Column(name="E[C]"),
            Column(name="sup C"),
            Column(name=f"E[C] below {CLAIMED}", numeric=False),
        ),
        rows=tuple(tuple(Entry(value=value) for value in row) for row in rows),
        notes=(f"E[C] falls with the base, and is {CLAIMED} at {_least_base(CLAIMED):.4f}.",),
    )


def _judged(base: float) -> str:
    return "yes" if eann.expected_inflation(base) < CLAIMED else "no"


def _least_base(inflation: float) -> float:
    """The base from which on the expected inflation is no more than this, by bisection."""
    low, high = 1 + 1e-9, 1e3
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if eann.expected_inflation(middle) > inflation else (low, middle)
    return high
