"""Which classes are mistaken for which. K classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.paired import Floats


def confusions(outcomes: Outcomes, classes: int, prediction: int = -1) -> NDArray[np.int64]:
    """How many images of each class (row) one prediction answers with each class (column): [K, K]."""
    answers = outcomes.classes[prediction].astype(np.int64)
    return np.bincount(outcomes.labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def class_errors(confused: NDArray[np.int64]) -> Floats:
    """The error on the images of each class, in percent, of ``confused`` [K, K]: [K]. NaN of a class without images."""
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * (1 - np.diag(confused) / confused.sum(axis=1)))


def worst(confused: NDArray[np.int64], most: int = 5) -> list[tuple[int, int, int]]:
    """The commonest mistakes: class, answer and number of images, no more than ``most``.

    Of equally common ones the one of the lower class, then answer, comes first.
    """
    mistakes = confused.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, mistakes.shape)
    counted = zip(rows.tolist(), columns.tolist(), mistakes[rows, columns].tolist(), strict=True)
    return [each for each in counted if each[2]]
