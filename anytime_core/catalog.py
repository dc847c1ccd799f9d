"""The data sets that exist, with what planning needs to know of them. Standard library only.

To add one: a line in DATASETS, and a reader in ``formats.READERS``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """Square images of ``size`` pixels and the augmentation that is usual for them (section 4.1): zeros padded to each
    side before a random crop, and whether they are mirrored at random. Where a mirrored image is another one, or none,
    they must never be: ``never_flips``."""

    classes: int
    channels: int
    size: int
    train_images: int
    test_images: int
    pad: int
    flip: bool
    never_flips: bool = False


DATASETS: dict[str, DatasetSpec] = {
    "cifar10": DatasetSpec(classes=10, channels=3, size=32, train_images=50_000, test_images=10_000, pad=4, flip=True),
    "cifar100": DatasetSpec(
        classes=100, channels=3, size=32, train_images=50_000, test_images=10_000, pad=4, flip=True
    ),
    "svhn": DatasetSpec(
        classes=10,
        channels=3,
        size=32,
        train_images=604_388,
        test_images=26_032,
        pad=4,
        flip=False,
        never_flips=True,
    ),
    "fashion_mnist": DatasetSpec(
        classes=10, channels=1, size=28, train_images=60_000, test_images=10_000, pad=4, flip=True
    ),
    "digits": DatasetSpec(classes=10, channels=1, size=8, train_images=1_438, test_images=359, pad=1, flip=False),
}
