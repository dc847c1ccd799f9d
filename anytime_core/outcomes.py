"""What a trained network answers to each image, at each prediction: all that is kept of its logits.

N images, L predictions, K classes. numpy alone, so that whoever reads outcomes needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.bounds import refuse
from anytime_core.inputs import rounded

Array = NDArray[Any]
MOST_OF_UINT8 = 256
MOST_CLASSES = 65_536


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcomes:
    """7 bytes for each prediction and image. Raises ValueError for arrays that do not fit together.

    ``labels`` [N] int64 are the true classes; ``costs`` [L] multiply-adds of one image up to each prediction.
    ``classes`` [L, N], uint8 or above 256 classes uint16, are the answers: the first class of the largest logit.
    ``confidence`` [L, N] float16 is the largest probability, ``of_truth`` [L, N] float16 that of the true class, and
    ``entropy`` [L, N] float16 is in nats. A probability of at most 2^-25 has become 0, one of at least 1 - 2^-12 is 1.

    ``product_right`` [L] is how many images Product Anytime has right at each prediction (Jazbec et al. 2023, arXiv
    2306.02652), which takes all logits; None where nobody counted, as of a part of the images.
    """

    labels: NDArray[np.int64]
    costs: tuple[int, ...]
    classes: NDArray[np.uint8] | NDArray[np.uint16]
    confidence: NDArray[np.float16]
    of_truth: NDArray[np.float16]
    entropy: NDArray[np.float16]
    product_right: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.costs), len(self.labels))
        refuse(
            None if self.labels.ndim == 1 and len(self.labels) else f"labels are {_said(self.labels)}, must be [N]",
            _of_type("labels", self.labels, "int64"),
            _ascending(self.costs),
            _of_type("classes", self.classes, "uint8", "uint16"),
            *(_of_shape(name, getattr(self, name), shape) for name in ("classes", *PROBABILITIES)),
            *(_of_type(name, getattr(self, name), "float16") for name in PROBABILITIES),
            *(_finite(name, getattr(self, name)) for name in PROBABILITIES),
            None if self.product_right is None else _counts(self.product_right, shape),
        )

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction answers each image with its true class: [L, N]."""
        return np.asarray(self.classes == self.labels)

    def of_images(self, chosen: Array) -> Outcomes:
        """Of these images alone: numbers, of which some may repeat, or a mask [N]."""
        return self.mapped(lambda rows: rows[:, chosen], self.labels[chosen])

    def mapped(self, change: Callable[[Array], Array], labels: NDArray[np.int64] | None = None) -> Outcomes:
        """With ``change`` done to each of the four arrays [L, N]."""
        return Outcomes(
            labels=self.labels if labels is None else labels,
            costs=self.costs,
            classes=change(self.classes),
            confidence=change(self.confidence),
            of_truth=change(self.of_truth),
            entropy=change(self.entropy),
        )


def class_type(classes: int) -> type[np.uint8] | type[np.uint16]:
    """What the numbers of so many classes are kept in."""
    return np.uint8 if classes <= MOST_OF_UINT8 else np.uint16


PROBABILITIES = ("confidence", "of_truth", "entropy")


def of_logits(logits: Array, labels: Array, costs: Sequence[int]) -> Outcomes:
    """The outcomes of ``logits`` [L, N, K], by a softmax in float64. Raises ValueError for what is not finite.

    What is kept is rounded to float32 and then to float16. torch rounds so, too, when it casts a float64 to float16;
    rounding once would give another last bit in one of some 16,000 numbers.
    """
    truth = _truth(labels, logits)
    return _stacked([_kept(row.argmax(axis=1), softmax(row), truth) for row in logits], truth, costs)


def of_probabilities(probabilities: Array, labels: Array, costs: Sequence[int]) -> Outcomes:
    """As ``of_logits``, of ``probabilities`` [L, N, K] as answers that combine several predictions give them."""
    truth = _truth(labels, probabilities)
    return _stacked([_kept(row.argmax(axis=1), row.astype(np.float64), truth) for row in probabilities], truth, costs)


def softmax(logits: Array) -> NDArray[np.float64]:
    """Probabilities [..., K] in float64."""
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _truth(labels: Array, scores: Array) -> NDArray[np.int64]:
    """The labels, which fit ``scores`` [L, N, K]."""
    refuse(None if scores.ndim == 3 and scores.size else f"{_said(scores)} given, must be [L, N, K], none of them 0")
    classes = scores.shape[2]
    refuse(
        None if classes <= MOST_CLASSES else f"{classes} classes, must be at most {MOST_CLASSES}",
        None if labels.shape == scores.shape[1:2] else f"labels are {_said(labels)}, must be [N] = [{scores.shape[1]}]",
        None if ((labels >= 0) & (labels < classes)).all() else f"labels must be from 0 to {classes - 1}",
        None if np.isfinite(scores).all() else "logits and probabilities must be finite numbers",
    )
    return labels.astype(np.int64)


def _kept(answers: Array, probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[Array, ...]:
    """Of one prediction: the classes [N] and the three numbers of each image, [N] each."""
    classes = answers.astype(class_type(probabilities.shape[1]))
    of_truth = probabilities[np.arange(len(truth)), truth]
    return classes, *map(rounded, (probabilities.max(axis=1), of_truth, _entropy(probabilities)))


def _stacked(rows: Sequence[tuple[Array, ...]], truth: NDArray[np.int64], costs: Sequence[int]) -> Outcomes:
    classes, confidence, of_truth, entropy = map(np.stack, zip(*rows, strict=True))
    return Outcomes(
        labels=truth,
        costs=tuple(costs),
        classes=classes,
        confidence=confidence,
        of_truth=of_truth,
        entropy=entropy,
    )


def _entropy(probabilities: NDArray[np.float64]) -> Array:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.asarray(np.maximum(-(probabilities * logarithms).sum(axis=-1), 0))


def _said(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _of_type(name: str, array: Array, *allowed: str) -> str | None:
    return None if array.dtype.name in allowed else f"{name} are {array.dtype}, must be {' or '.join(allowed)}"


def _of_shape(name: str, array: Array, shape: tuple[int, int]) -> str | None:
    return None if array.shape == shape else f"{name} are {list(array.shape)}, must be [L, N] = {list(shape)}"


def _ascending(costs: Sequence[int]) -> str | None:
    rising = all(before < after for before, after in zip((0, *costs), costs, strict=False))
    return None if costs and rising else f"costs are {list(costs)}, must be above 0 and ascend"


def _counts(counts: Sequence[int], shape: tuple[int, int]) -> str | None:
    predictions, images = shape
    fit = len(counts) == predictions and all(isinstance(count, int) and 0 <= count <= images for count in counts)
    return None if fit else f"product_right are {list(counts)}, must be {predictions} counts of up to {images} images"


def _finite(name: str, array: Array) -> str | None:
    return None if np.isfinite(array).all() else f"{name} must be finite numbers"
