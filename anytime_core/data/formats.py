"""Readers of the data sets' own file formats. Whatever is wrong with a file is a DataError that names it.

To add a data set: a line in ``catalog.DATASETS``, in FILES and in READERS.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.util
import math
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from anytime_core.catalog import DATASETS, DatasetSpec
from anytime_core.errors import DataError

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]
Number = TypeVar("Number", np.uint8, np.int64)
Part = tuple[Bytes, Labels]  # images [N,C,H,W], labels [N]


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """A whole data set: images uint8 [N,C,H,W], labels int64 [N] from 0."""

    train_images: Bytes
    train_labels: Labels
    test_images: Bytes
    test_labels: Labels


FILES: dict[str, dict[str, str]] = {
    "cifar10": {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    "cifar100": {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    "svhn": {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    "digits": {},
}
"""The files of each data set below its root and their published md5 sums, in the order in which its reader takes
them."""

FOLDERS: dict[str, tuple[str, ...]] = {"fashion_mnist": ("FashionMNIST/raw", "fashion_mnist", "")}
"""The folders below the root that are searched, where that is not the root alone."""

State = Literal[
    "ok", "missing", "wrong md5", "unreadable", "unpacked, no published md5: keep the .gz, or give --no-md5"
]
USABLE: tuple[State, ...] = ("ok",)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file as it lies, or should. ``md5`` is the published sum; None if there is none for this form of the file."""

    path: Path
    md5: str | None

    def state(self) -> State:
        """Reads the whole file for its md5."""
        if not self.path.is_file():
            return "missing"
        if self.md5 is None:
            return "unpacked, no published md5: keep the .gz, or give --no-md5"
        try:
            with self.path.open("rb") as stream:
                return "ok" if hashlib.file_digest(stream, "md5").hexdigest() == self.md5 else "wrong md5"
        except OSError:
            return "unreadable"


def spec_of(name: str) -> DatasetSpec:
    """What the catalog says of a data set; DataError if it does not exist."""
    if name not in DATASETS:
        raise DataError(f"no data set is named {name!r}, must be one of {', '.join(DATASETS)}")
    return DATASETS[name]


def source_files(name: str, root: Path) -> list[SourceFile]:
    """The files of a data set in the folder that holds most of them; they need not exist."""
    spec_of(name)
    layouts = [
        [_lying(root / folder / file, md5) for file, md5 in FILES[name].items()] for folder in FOLDERS.get(name, ("",))
    ]
    return min(layouts, key=lambda files: sum(not file.path.is_file() for file in files))


def _lying(path: Path, md5: str) -> SourceFile:
    """The file itself, or else what unpacking it leaves."""
    unpacked = path.with_suffix("")
    if path.suffix == ".gz" and not path.is_file() and unpacked.is_file():
        return SourceFile(path=unpacked, md5=None)
    return SourceFile(path=path, md5=md5)


def located(name: str, root: Path | None) -> list[SourceFile]:
    """The files of a data set, all of which exist; DataError otherwise."""
    spec_of(name)
    if not FILES[name]:
        return []
    if root is None:
        raise DataError(f"{name} lies in files: give the folder that holds {', '.join(FILES[name])}")
    files = source_files(name, root)
    if missing := [str(file.path) for file in files if not file.path.is_file()]:
        searched = "".join(f", {root / folder}" for folder in FOLDERS.get(name, ()))
        note = f" (searched{searched[1:]}, packed or unpacked)" if searched else ""
        raise DataError(f"{name}: not found: {', '.join(missing)}{note}; {_advice(name, root)}")
    return files


def _advice(name: str, root: Path) -> str:
    return f"to download: orchestrate data fetch {name} --root {root}"


def read(name: str, root: Path | None, *, check_md5: bool = True) -> Images:
    """The data set from its own files below ``root``, which are compared with their published md5 sums unless told
    otherwise."""
    files = located(name, root)
    if check_md5 and root is not None:
        states = [(file, file.state()) for file in files]
        if faults := [f"{file.path}: {state}{_published(file)}" for file, state in states if state not in USABLE]:
            raise DataError(f"{name}: not as published: {', '.join(faults)}; {_advice(name, root)}")
    return READERS[name]([file.path for file in files])


def _published(file: SourceFile) -> str:
    return f" (published: {file.md5})" if file.md5 else ""


def cifar10(paths: Sequence[Path]) -> Images:
    """Five batches of training images, one of test images; the names of the classes are not needed."""
    *train, test, _ = paths
    spec = DATASETS["cifar10"]
    return _joined([_cifar_batch(path, "labels", spec) for path in train], [_cifar_batch(test, "labels", spec)])


def cifar100(paths: Sequence[Path]) -> Images:
    """The 100 fine labels; the names of the classes are not needed."""
    train, test = (_cifar_batch(path, "fine_labels", DATASETS["cifar100"]) for path in paths[:2])
    return _joined([train], [test])


def svhn(paths: Sequence[Path]) -> Images:
    """The training images, then the extra ones, train together (section 4.1)."""
    train, extra, test = map(_svhn_part, paths)
    return _joined([train, extra], [test])


def fashion_mnist(paths: Sequence[Path]) -> Images:
    train_images, train_labels, test_images, test_labels = paths
    return _joined([_idx_part(train_images, train_labels)], [_idx_part(test_images, test_labels)])


def digits(_: Sequence[Path]) -> Images:
    """Scikit-learn's 1,797 images with values 0 to 16. Every fifth is a test image, as there is no published split.

    Its file is read without it: its import takes over a second.
    """
    found = importlib.util.find_spec("sklearn")
    if not found or not found.origin:
        raise DataError("digits come with scikit-learn, which is not installed")
    content = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images, labels = content[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8), content[:, -1].astype(np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return _joined([(images[~test], labels[~test])], [(images[test], labels[test])])


READERS: dict[str, Callable[[Sequence[Path]], Images]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "fashion_mnist": fashion_mnist,
    "digits": digits,
}
"""What turns the files of each data set, in the order of FILES, into its images."""


def optional_module(module: str, purpose: str) -> Any:
    """Imports what only some data sets need."""
    try:
        return importlib.import_module(module)
    # A broken install raises more than ImportError: torchvision on another torch, RuntimeError.
    except Exception as error:
        package = module.partition(".")[0]
        raise DataError(f"{purpose}, and {package} cannot be imported: {type(error).__name__}: {error}") from error


def _joined(train: list[Part], test: list[Part]) -> Images:
    return Images(
        train_images=_concatenated([images for images, _ in train]),
        train_labels=_concatenated([labels for _, labels in train]),
        test_images=_concatenated([images for images, _ in test]),
        test_labels=_concatenated([labels for _, labels in test]),
    )


def _concatenated(arrays: list[NDArray[Number]]) -> NDArray[Number]:
    # Into an array made here: numpy would keep the memory order of SVHN's transposed images, and its copy costs 2 GB.
    joined = np.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    return np.concatenate(arrays, out=joined)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Whatever a parser raises on the bytes of a damaged file becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read as {kind}: {type(error).__name__}: {error}") from error


def _cifar_batch(path: Path, label_key: str, spec: DatasetSpec) -> Part:
    with _reading(path, "a pickled batch of images"), path.open("rb") as stream:
        data, labels = _entries(path, _BatchUnpickler(stream, encoding="latin1").load(), "data", label_key)
        array = data.array if isinstance(data, _PickledArray) else data
        rows = _expect(path, "data", array, ("N", spec.channels * spec.size**2))
        return rows.reshape(-1, spec.channels, spec.size, spec.size), _labels(path, labels, len(rows), spec)


class _PickledArray:
    """Stands in for an array of numpy's while a pickle is read: numpy itself never acts on what a file tells it."""

    def __init__(self, *_: object) -> None:
        self.array: Bytes | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, _, fortran, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


class _PickledDtype:
    """Stands in for the one dtype that is needed."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", "uint8"):
            raise pickle.UnpicklingError(f"holds an array of dtype {code!r}, must be 'u1' (uint8)")

    def __setstate__(self, state: object) -> None:
        pass


class _BatchUnpickler(pickle.Unpickler):
    """Calls nothing but what an array of bytes needs, so that a pickle cannot run code."""

    _ALLOWED: ClassVar[dict[str, Any]] = {
        "numpy.core.multiarray._reconstruct": _PickledArray,
        "numpy._core.multiarray._reconstruct": _PickledArray,
        "numpy.ndarray": _PickledArray,
        "numpy.dtype": _PickledDtype,
        "_codecs.encode": str.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (wanted := f"{module}.{name}") not in self._ALLOWED:
            raise pickle.UnpicklingError(f"asks for {wanted}, must ask for nothing but {', '.join(self._ALLOWED)}")
        return self._ALLOWED[wanted]


def _svhn_part(path: Path) -> Part:
    spec = DATASETS["svhn"]
    scipy_io = optional_module("scipy.io", "SVHN's .mat files are read with scipy")
    with _reading(path, "a .mat file"):
        content = scipy_io.loadmat(path, appendmat=False, variable_names=["X", "y"])
        images, labels = _entries(path, content, "X", "y")
        images = _expect(path, "X", images, (spec.size, spec.size, spec.channels, "N"))  # [H,W,C,N]
        labels = np.ravel(labels)
        labels = np.where(labels == 10, 0, labels)  # 10 stands for the digit 0
        return images.transpose(3, 2, 0, 1), _labels(path, labels, images.shape[3], spec)


def _idx_part(images_path: Path, labels_path: Path) -> Part:
    spec = DATASETS["fashion_mnist"]
    images = _expect(images_path, "its content", _idx(images_path, 3), ("N", spec.size, spec.size))
    return images[:, None], _labels(labels_path, _idx(labels_path, 1), len(images), spec)


def _idx(path: Path, dimensions: int) -> Bytes:
    """The bytes of an idx file: a magic number and each dimension as big-endian uint32, then the content."""
    with _reading(path, "an idx file"):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
        if magic != 0x800 + dimensions:
            raise DataError(f"{path}: its magic number is {magic}, must be {0x800 + dimensions}")
        body = np.frombuffer(content[4 * (1 + dimensions) :], np.uint8)
        if body.size != math.prod(shape):
            raise DataError(f"{path}: has {body.size} bytes after its header, must be {math.prod(shape)} for {shape}")
        return body.reshape(shape)


def _entries(path: Path, content: object, *keys: str) -> list[Any]:
    found = list(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise DataError(f"{path}: holds {found}, must hold {list(keys)}")
    return [content[key] for key in keys]


def _expect(path: Path, what: str, array: object, shape: tuple[int | str, ...]) -> Bytes:
    """The array, if it is uint8 of that shape, where "N" is any number of images but 0."""
    if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == len(shape):
        sizes = zip(array.shape, shape, strict=True)
        if all(size > 0 if wanted == "N" else size == wanted for size, wanted in sizes):
            return array
    raise DataError(f"{path}: {what} is {_described(array)}, must be uint8 [{', '.join(map(str, shape))}]")


def _labels(path: Path, values: object, count: int, spec: DatasetSpec) -> Labels:
    labels = np.asarray(values)
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(f"{path}: labels are {_described(labels)}, must be integers [{count}]")
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= spec.classes))):
        raise DataError(f"{path}: image {wrong[0]} has label {labels[wrong[0]]}, must be 0 to {spec.classes - 1}")
    return labels.astype(np.int64)


def _described(array: object) -> str:
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
