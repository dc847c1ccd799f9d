"""What a data set is: all that planning, training, fetching and showing need to know of one, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.inputs import ImageSpec

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """A whole data set: images uint8 [N,C,H,W], labels int64 [N] from 0."""

    train_images: Bytes
    train_labels: Labels
    test_images: Bytes
    test_labels: Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set of square images. Raises ValueError for one that lacks what a command would need.

    ``size`` counts the pixels of a side, which run from 0 to ``brightest``. ``pad`` and ``flip`` are the augmentation
    that is usual for the data set (section 4.1): zeros padded to each side before a random crop, and mirroring at
    random. ``never_flips`` refuses mirroring where a mirrored image shows something else, or nothing.

    ``read`` turns the files, in the order of ``files``, into images. A data set that comes with an installed package
    has no files.
    """

    name: str
    class_names: tuple[str, ...]
    """In the order of the labels."""
    channels: int
    size: int
    train_images: int
    test_images: int
    pad: int
    flip: bool
    read: Callable[[Dataset, Sequence[Path]], Images]
    never_flips: bool = False
    brightest: int = 255
    files: Mapping[str, str] = field(default_factory=dict)
    """Paths below the root of the data, and their published md5 sums."""
    folders: tuple[str, ...] = ("",)
    """The folders below the root that are searched for the files."""
    page: str = ""
    """Where a person can download the files."""
    downloads: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """The classes of ``torchvision.datasets`` that download the files, and their arguments."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"{self.name}: class_names holds {self.classes} names, must hold at least 2")
        if self.files and not self.page:
            raise ValueError(f"{self.name}: page is empty, must say where {', '.join(self.files)} can be downloaded")
        if self.flip and self.never_flips:
            raise ValueError(f"{self.name}: flip is true, must be false as never_flips is")

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape [C,H,W] of an image."""
        return self.channels, self.size, self.size

    @property
    def spec(self) -> ImageSpec:
        """The images that a network takes which was trained on this data set."""
        return ImageSpec(self.channels, self.size, self.brightest)
