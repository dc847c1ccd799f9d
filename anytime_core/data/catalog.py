"""The data sets that exist. To add one: an entry here, and a reader in ``formats`` if its files need a new one."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

from anytime_core.config import DataConfig, OwnData
from anytime_core.data import formats
from anytime_core.data.dataset import Dataset
from anytime_core.errors import DataError

CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
DIGITS = tuple("0123456789")
CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
    "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
    "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
    "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
    "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
    "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank "
    "telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

_ALL = (
    Dataset(
        name="cifar10",
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        channels=3,
        size=32,
        train_images=50_000,
        test_images=10_000,
        pad=4,
        flip=True,
        read=formats.cifar10,
        files={
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
            "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        page=CIFAR_PAGE,
        downloads=(("CIFAR10", {}),),
    ),
    Dataset(
        name="cifar100",
        class_names=tuple(CIFAR100_CLASSES.split()),
        channels=3,
        size=32,
        train_images=50_000,
        test_images=10_000,
        pad=4,
        flip=True,
        read=formats.cifar100,
        files={
            "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
            "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
        },
        page=CIFAR_PAGE,
        downloads=(("CIFAR100", {}),),
    ),
    Dataset(
        name="svhn",
        class_names=DIGITS,
        channels=3,
        size=32,
        train_images=604_388,
        test_images=26_032,
        pad=4,
        flip=False,
        never_flips=True,
        read=formats.svhn,
        files={
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
        page="http://ufldl.stanford.edu/housenumbers/",
        downloads=tuple(("SVHN", {"split": split}) for split in ("train", "extra", "test")),
    ),
    Dataset(
        name="fashion_mnist",
        class_names=(
            *("t-shirt or top", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
        channels=1,
        size=28,
        train_images=60_000,
        test_images=10_000,
        pad=4,
        flip=True,
        read=formats.idx_files,
        files={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        folders=("FashionMNIST/raw", "fashion_mnist", ""),
        page="https://github.com/zalandoresearch/fashion-mnist",
        downloads=(("FashionMNIST", {}),),
    ),
    Dataset(
        name="digits",
        class_names=DIGITS,
        channels=1,
        size=8,
        train_images=1_438,
        test_images=359,
        pad=1,
        flip=False,
        brightest=16,
        read=formats.digits,
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def dataset_of(data: DataConfig | str) -> Dataset:
    """The data set of a trial, or of the catalog by its name. Raises DataError if there is none."""
    if isinstance(data, DataConfig) and data.own:
        return own_dataset(data.name, data.own)
    name = data if isinstance(data, str) else data.name
    if name not in DATASETS:
        raise DataError(f"no data set is named {name!r}, must be one of {', '.join(DATASETS)}")
    return DATASETS[name]


@lru_cache(maxsize=64)
def own_dataset(name: str, own: OwnData) -> Dataset:
    """What is usual for a data set of the user's own: crops by up to an eighth of a side, and no mirrors."""
    known = {field.name: getattr(own, field.name) for field in fields(own) if field.name != "content"}
    return Dataset(name=name, pad=own.size // 8, flip=False, **known)
