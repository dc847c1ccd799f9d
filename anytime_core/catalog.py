"""The data sets that exist, with what planning needs to know of them. Standard library only.

To add one: a line in DATASETS, and a reader in ``formats.READERS``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """Square images of ``size`` pixels and the augmentation that is usual for them (section 4.1): zeros padded to each
    side before a random crop, and whether they are mirrored at random. Where a mirrored image is another one, or none,
    they must never be: ``never_flips``. Pixels are from 0 to ``brightest``."""

    classes: int
    channels: int
    size: int
    train_images: int
    test_images: int
    pad: int
    flip: bool
    never_flips: bool = False
    brightest: int = 255


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
    "digits": DatasetSpec(
        classes=10, channels=1, size=8, train_images=1_438, test_images=359, pad=1, flip=False, brightest=16
    ),
}

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
    "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
    "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
    "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
    "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
    "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank "
    "telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "cifar10": tuple(_CIFAR10.split()),
    "cifar100": tuple(_CIFAR100.split()),
    "fashion_mnist": (
        *("t-shirt or top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "svhn": tuple("0123456789"),
    "digits": tuple("0123456789"),
}
"""In the order of the labels."""
