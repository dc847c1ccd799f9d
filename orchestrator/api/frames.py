"""Tidy rows as pandas frames. pandas is imported once there is one to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anytime_core.result import USAGE
from orchestrator.report.views.notebook import frame_of

if TYPE_CHECKING:
    from pandas import DataFrame

REAL = ("fraction", "error", "probability", *USAGE)
"""Columns that are numbers also where all of them are missing."""


def of_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> DataFrame:
    frame = frame_of(rows, columns)
    return frame.astype({name: float for name in REAL if name in columns})


def of_blocks(blocks: Sequence[Mapping[str, Any]], columns: Sequence[str], length_of: str) -> DataFrame:
    """The blocks one below the other. A value that is no array stands in all rows of its block, of which the array
    ``length_of`` has as many as there are. Texts are categories: each is kept once, however many rows there are."""
    import pandas

    lengths = [len(block[length_of]) for block in blocks]
    return pandas.DataFrame({name: _column([block[name] for block in blocks], lengths) for name in columns})


def _column(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    import pandas

    if any(isinstance(value, str) for value in values):
        names = {name: code for code, name in enumerate(dict.fromkeys(values))}
        return pandas.Categorical.from_codes(np.repeat([names[value] for value in values], lengths), list(names))
    if all(isinstance(value, np.ndarray) for value in values):
        return np.concatenate([*values]) if values else []
    return np.repeat([np.nan if value is None else value for value in values], lengths)
