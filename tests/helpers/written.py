"""The texts of extensions, as a user writes them in files of their own."""

RAMP = """from dataclasses import dataclass
from anytime_core.extend import Progress, Weighting, register

@register("ramp")
@dataclass(frozen=True, kw_only=True)
class Ramp(Weighting):
    power: float = 1.0

    def weights(self, costs, progress: Progress):
        return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]
"""

NET = """from dataclasses import dataclass
from torch import nn
from anytime_core.extend import Network, register

@register("pair")
@dataclass(frozen=True, kw_only=True)
class Pair(Network):
    width: int = 3

    @property
    def predictions(self):
        return 2

    def build(self, classes, channels, size):
        return Layers(channels * size**2, self.width, classes)

    def costs(self, classes, channels, size):
        return [channels * size**2 * self.width, channels * size**2 * self.width + self.width**2]

class Layers(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.bodies = nn.ModuleList([nn.Linear(inputs, width), nn.Linear(width, width)])
        self.heads = nn.ModuleList([nn.Linear(width, classes) for _ in range(2)])

    def forward(self, images):
        x = images.flatten(1)
        for body, head in zip(self.bodies, self.heads):
            x = body(x).relu()
            yield head(x)
"""

TWICE = """from dataclasses import dataclass
from anytime_core.extend import Regime, register
from anytime_core.training.regimes import Phase

@register("twice")
@dataclass(frozen=True, kw_only=True)
class Twice(Regime):
    def count(self, predictions):
        return 2

    def phases(self, network):
        names, units = frozenset(name for name, _ in network.named_parameters()), network.predicting_units
        return [Phase((1.0,) * len(units), names, units[-1])] * 2
"""

READER = """from dataclasses import dataclass
import numpy as np
from anytime_core.extend import Reader, register

@register("npy")
@dataclass(frozen=True, kw_only=True)
class Npy(Reader):
    def read(self, path):
        return {file.stem: np.load(file) for file in sorted(path.glob("*.npy"))}
"""

REPORTS = """from orchestrator.extend import Column, Entry, Table, table, win_test

@win_test("cautious")
def cautious(differences):
    return 0.5

@table("counts")
def counts(tables):
    return Table(name="counts", title="Lines", columns=(Column(name="lines"),), rows=((Entry(value=1),),))
"""
