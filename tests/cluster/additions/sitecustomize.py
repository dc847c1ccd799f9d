"""Adds one of each kind to the registries, in every process that has this folder on its PYTHONPATH, workers too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from anytime_core import config
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Dataset, Images
from anytime_core.training import selection, weighting
from orchestrator.analysis.curves import Curve, Panel, Results
from orchestrator.analysis.tables import Tables
from orchestrator.report.figures import FIGURES, FigureKind
from orchestrator.report.layouts import LAYOUTS, Layout
from orchestrator.stats import significance
from orchestrator.table import Column, Entry, Table

MD5 = "6168fd2feb1f652af9b0512e151bd498"


def stripes(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """From a file of one byte for each image: bright rows below the label's."""
    labels = np.frombuffer(paths[0].read_bytes(), np.uint8).astype(np.int64)
    rows = np.arange(dataset.size)[None, None, :, None] >= labels[:, None, None, None]
    images = np.broadcast_to(rows * np.uint8(200), (len(labels), *dataset.image)).astype(np.uint8)
    train = dataset.train_images
    return Images(
        train_images=images[:train],
        train_labels=labels[:train],
        test_images=images[train:],
        test_labels=labels[train:],
    )


DATASETS["stripes"] = Dataset(
    name="stripes",
    class_names=("none", "one", "two"),
    channels=1,
    size=8,
    train_images=128,
    test_images=32,
    pad=0,
    flip=False,
    read=stripes,
    files={"stripes.bin": MD5},
    page="https://example.org/stripes",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Last:
    """Amplifies the last loss in every step."""

    gamma: float = 0.5
    name: Literal["last"] = "last"


config.STRATEGIES["last"] = Last
selection.RULES[Last] = selection.Rule(
    lambda base, milestones: selection.zeros(base, milestones),
    lambda strategy, v: v + (v.new_tensor(range(len(v))) == len(v) - 1),
    selection.unchanged,
)
weighting.WEIGHTINGS["rising"] = lambda size: [float(number) for number in range(1, size + 1)]


def counts(tables: Tables) -> Table:
    """How many lines of errors each method has."""
    methods = [row.method for row in tables.errors]
    return Table(
        name="anything",
        title="Lines of errors",
        columns=(Column(name="method", numeric=False), Column(name="lines")),
        rows=tuple((Entry(value=name), Entry(value=methods.count(name))) for name in dict.fromkeys(methods)),
        notes=(),
    )


def flat(results: Results) -> list[Panel]:
    """One straight line."""
    curve = Curve(label="flat", x=(0.0, 1.0), y=(1.0, 1.0))
    return [Panel(kind="lines", title="Flat", x_label="x", y_label="y", curves=(curve,), group=("all",))]


LAYOUTS["counts"] = Layout(counts)
FIGURES["flat-line"] = FigureKind("A flat line", flat)
significance.TESTS["coin"] = lambda differences: 0.5
