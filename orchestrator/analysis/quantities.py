"""All that a sweep's report may compare methods by: the errors of the paper's tables, and every metric of outcomes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import cast

from orchestrator.stats.outcomes import metrics as of_outcomes
from orchestrator.stats.quantities import Quantity
from orchestrator.sweep.metrics import AVERAGE, METRICS

MEANINGS = {metric: f"error at {metric} of the cost" for metric in METRICS} | {
    "1": "error at the full cost",
    AVERAGE: f"mean error ({AVERAGE})",
}
ERRORS = {metric: Quantity(lower_is_better=True, unit="%", meaning=meaning) for metric, meaning in MEANINGS.items()}
QUANTITIES: Mapping[str, Quantity] = ChainMap(cast("dict[str, Quantity]", of_outcomes.METRICS), ERRORS)
"""By name, errors first. What is added to the metrics of outcomes is here, too."""
