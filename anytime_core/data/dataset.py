"""What a data set is: all that planning, training, fetching and showing need to know of one, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.errors import DataError
from anytime_core.inputs import ImageSpec

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]
COUNTED_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """A whole data set: images uint8 [N,C,H,W], labels int64 [N] from 0. Few have images for validation."""

    train_images: Bytes
    train_labels: Labels
    test_images: Bytes
    test_labels: Labels
    validation_images: Bytes | None = None
    validation_labels: Labels | None = None


def refuse_own(dataset: Dataset, paths: Sequence[Path]) -> Images:
    raise DataError(f"{dataset.name} is a data set of the user's own: give its images")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set of square images. Raises ValueError for one that lacks what a command would need.

    ``size`` counts the pixels of a side, which run from 0 to ``brightest``. ``pad`` and ``flip`` are the augmentation
    that is usual for the data set (section 4.1): zeros padded to each side before a random crop, and mirroring at
    random. ``never_flips`` refuses mirroring where a mirrored image shows something else, or nothing.

    ``read`` turns the files, in the order of ``files``, into images. A data set that comes with an installed package
    has no files, and one of the user's own is read elsewhere: see ``data.own``.
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
    read: Callable[[Dataset, Sequence[Path]], Images] = refuse_own
    validation_images: int = 0
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


def channel_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 [N,C,H,W], from exact integer sums."""
    values, counts = np.arange(256, dtype=np.float64), np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), COUNTED_AT_ONCE):  # bincount makes 8 bytes of each, 5 GB of one channel of SVHN
        for channel, pixels in enumerate(images[start : start + COUNTED_AT_ONCE].swapaxes(0, 1)):
            counts[channel] += np.bincount(pixels.ravel(), minlength=256)
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))
