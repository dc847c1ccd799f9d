"""What a sweep file may hold: read ``SweepFile`` from top to bottom.

Unknown keys are refused, and every fault of a file is listed at once, with its line: see ``faults``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from anytime_core.config import TrainingConfig, WeightingConfig
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.report.figures import FIGURES
from orchestrator.report.layouts import LAYOUTS
from orchestrator.stats.scopes import SCOPES
from orchestrator.stats.significance import TESTS
from orchestrator.sweep import report as sweep
from orchestrator.sweep.keep import Keep
from orchestrator.sweep.notify import Notify
from orchestrator.sweep.retries import Retries
from orchestrator.sweep.trial import Resources
from orchestrator.sweepfile.deciding import Decide
from orchestrator.sweepfile.document import Document
from orchestrator.sweepfile.fields import (
    TEXT,
    Dataset,
    HourlyPrice,
    Intensity,
    Name,
    Network,
    Seed,
    Training,
    Weights,
    distinct,
    named_in,
)
from orchestrator.sweepfile.methods import AnyMethod, JointMethod, Method


class CheckedReport(sweep.Report):
    """Names are those of the registries."""

    compare: Annotated[list[Annotated[str, named_in(QUANTITIES), TEXT]], AfterValidator(distinct)] = Field(default=[])
    tables: Annotated[list[Annotated[str, named_in(LAYOUTS)]], AfterValidator(distinct)] = Field(default=[])
    figures: Annotated[list[Annotated[str, named_in(FIGURES)]], AfterValidator(distinct)] = Field(default=[])
    p_value: Annotated[str, named_in(TESTS)] = "hoeffding"
    scope: Annotated[str, named_in(SCOPES)] | None = None


class SweepFile(BaseModel):
    """The grid is networks x datasets x methods x seeds; everything else holds for all of its trials."""

    name: Name
    description: str = ""
    extensions: Annotated[list[str], AfterValidator(distinct)] = Field(default=[])
    networks: list[Network] = Field(min_length=1)
    datasets: list[Dataset] = Field(min_length=1)
    methods: dict[Name, AnyMethod] = Field(min_length=1)
    seeds: Annotated[list[Seed], AfterValidator(distinct)] = Field(default=[0], min_length=1)
    weights: Weights = WeightingConfig()
    training: Training = Field(default_factory=TrainingConfig)
    resources: Resources = Resources()
    keep: Keep = Keep()
    retries: Retries = Retries()
    order: Literal["longest", "coverage"] = "longest"
    price: HourlyPrice | None = None
    carbon: Intensity | None = None
    notify: Notify = Notify()
    decide: Decide | None = None
    report: CheckedReport = CheckedReport()

    @property
    def pool(self) -> list[int]:
        """All seeds that the sweep may come to have."""
        return (
            self.decide.seeds(self.seeds if "seeds" in self.model_fields_set else None) if self.decide else self.seeds
        )

    @property
    def expanded_methods(self) -> dict[str, Method]:
        """The methods, grids worked out."""
        return expanded(self.methods)


def rebuild() -> None:
    """Looks at the registries again: to be called where other extensions are active than before."""
    for model in (JointMethod, SweepFile):
        model.model_rebuild(force=True)


def expanded(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods by name, a grid as a method for each of its points."""
    return {name: variant for given, method in methods.items() for name, variant in method.variants(given).items()}


def parsed(document: Document) -> SweepFile:
    """A file without faults."""
    return SweepFile.model_validate(document.content, extra="forbid")
