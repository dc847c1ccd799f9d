"""Downloads data sets with torchvision into the layout that ``formats`` reads, and tells what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytime_core.data.formats import FILES, USABLE, State, optional_module, source_files, spec_of
from anytime_core.errors import DataError

PAGES: dict[str, str] = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "svhn": "http://ufldl.stanford.edu/housenumbers/",
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist",
}
"""Where each data set can be downloaded by hand."""

DOWNLOADS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "cifar10": [("CIFAR10", {})],
    "cifar100": [("CIFAR100", {})],
    "svhn": [("SVHN", {"split": split}) for split in ("train", "extra", "test")],
    "fashion_mnist": [("FashionMNIST", {})],
}
"""The classes of torchvision.datasets that download each data set, and their arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """A file of a data set, and what comparing it with its published md5 showed."""

    path: Path
    state: State


def check(name: str, root: Path) -> list[FileState]:
    """Every file of a data set; none for one that does not lie in files. Reads each whole."""
    return [FileState(path=file.path, state=file.state()) for file in source_files(name, root)]


def fetch(name: str, root: Path) -> None:
    """Downloads what is missing or damaged below ``root``; DataError says how to do it by hand where that fails."""
    spec_of(name)
    if not FILES[name]:
        print(f"{name} comes with an installed package: nothing to fetch")
    elif _faults(name, root):
        _download(name, root)
        if faults := _faults(name, root):
            raise DataError(f"{name}: downloaded, yet {', '.join(faults)}; delete these files and fetch again")


def _faults(name: str, root: Path) -> list[str]:
    return [f"{file.path}: {file.state}" for file in check(name, root) if file.state not in USABLE]


def _download(name: str, root: Path) -> None:
    try:
        datasets = optional_module("torchvision.datasets", "torchvision downloads")
        for kind, arguments in DOWNLOADS[name]:
            getattr(datasets, kind)(root, download=True, **arguments)
    # No network, a refused connection, a broken archive, a full disk: any library's own error.
    except Exception as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        files = ", ".join(str(root / file) for file in FILES[name])
        raise DataError(f"{name}: {reason}; download it from {PAGES[name]} and place {files}") from error
