"""Data sets as named arrays: what they are called, which shapes they may have, and what they hold.

Shapes: N images, C channels, S x S pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anytime_core.data.dataset import Bytes
from anytime_core.data.own.source import REQUIRED, SPLITS, Faults, Found, Split

ENTRIES = {f"{split}_{what}": split in REQUIRED for split in SPLITS for what in ("images", "labels")} | {
    "class_names": False
}
"""The arrays that there may be, and whether they must be there."""
LAYOUTS = "uint8 [N,S,S], [N,S,S,C] or [N,C,S,S]"


def refuse_names(names: Sequence[str], faults: Faults) -> None:
    """Notes arrays that should not be there, or should."""
    allowed = ", ".join(ENTRIES)
    for name in names:
        if name not in ENTRIES:
            faults.add(f"there is an array {name!r}; allowed: {allowed}")
    missing = [name for name, required in ENTRIES.items() if required and name not in names]
    half = {"validation_images", "validation_labels"} - set(names)
    for name in (*missing, *(half if len(half) == 1 else ())):
        faults.add(f"there is no array {name}")
    for name in {name for name in names if names.count(name) > 1}:
        faults.add(f"there are two arrays {name}")


def kind_fault(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> str:
    """Why an array of ENTRIES cannot be of this shape and type; empty where it can."""
    if name == "class_names":
        wanted, fits = "text [K]", dtype.kind == "U" and len(shape) == 1
    elif name.endswith("labels"):
        wanted, fits = "whole numbers [N]", dtype.kind in "iu" and len(shape) == 1
    else:
        wanted, fits = LAYOUTS, dtype == np.uint8 and len(shape) in (3, 4)
        if fits and 0 in shape[1:]:
            return f"{name} is {dtype} {list(shape)}, and an image must have at least 1 pixel"
    return "" if fits else f"{name} is {dtype} {list(shape)}, must be {wanted}"


def found_in(arrays: Mapping[str, Any], faults: Faults) -> Found:
    """The data set of arrays whose names, shapes and types are sound."""
    splits = {split: found for split in SPLITS if (found := _split(split, arrays, faults))}
    faults.refuse()
    shapes = {split: found.images.shape[1:] for split, found in splits.items()}
    for split, shape in shapes.items():
        if shape != shapes["train"]:
            faults.add(
                f"{split}_images are {list(shape)} an image, as [C,S,S], and train_images {list(shapes['train'])}"
            )
    return Found(class_names=_class_names(arrays, splits), splits=splits)


def _split(split: str, arrays: Mapping[str, Any], faults: Faults) -> Split | None:
    if (images := arrays.get(f"{split}_images")) is None:
        return None
    labels = arrays[f"{split}_labels"]
    if len(images) != len(labels):
        faults.add(f"{split}_labels are {len(labels)}, and {split}_images {len(images)}; must be as many")
    try:
        pixels = _channels_first(images)
    except ValueError as error:
        faults.add(f"{split}_images are {error}")
        return None
    names = [f"{split}_images[{index}]" for index in range(len(images))]
    if labels.dtype == np.uint64 and len(labels) and labels.max() > np.iinfo(np.int64).max:
        faults.add(f"{split}_labels hold {labels.max()}, which no data set has as many classes for")
        return None
    return Split(images=pixels, labels=labels.astype(np.int64), names=names)


def _channels_first(images: Bytes) -> Bytes:
    """Raises ValueError where it cannot be told which of the dimensions are the sides."""
    last, first = images.shape[1] == images.shape[2], images.shape[-2] == images.shape[-1]
    if images.ndim == 3 and first:
        return images[:, None]
    if images.ndim == 4 and last and first:
        shape = list(images.shape)
        raise ValueError(f"{shape}, where channels may be first or last; must be a shape that says so, of {LAYOUTS}")
    if images.ndim == 3 or not (last or first):
        raise ValueError(f"{list(images.shape)}, which are no squares; must be {LAYOUTS}")
    return np.ascontiguousarray(images if first else images.transpose(0, 3, 1, 2))


def _class_names(arrays: Mapping[str, Any], splits: dict[str, Split]) -> tuple[str, ...]:
    """The numbers themselves where the classes have no names."""
    if "class_names" in arrays:
        return tuple(map(str, arrays["class_names"]))
    labels = splits["train"].labels
    count = int(min(labels.max(initial=-1), len(labels))) + 1
    return tuple(map(str, range(count)))
