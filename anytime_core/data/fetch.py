"""Downloads data sets with torchvision into the layout that ``source_files`` finds, and tells what is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anytime_core.data.catalog import dataset_of
from anytime_core.data.formats import optional_module
from anytime_core.data.source_files import USABLE, State, source_files
from anytime_core.errors import DataError


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
    if not dataset_of(name).files:
        print(f"{name} comes with an installed package: nothing to fetch")
    elif _faults(name, root):
        _download(name, root)
        if faults := _faults(name, root):
            raise DataError(f"{name}: downloaded, yet {', '.join(faults)}; delete these files and fetch again")


def _faults(name: str, root: Path) -> list[str]:
    return [f"{file.path}: {file.state}" for file in check(name, root) if file.state not in USABLE]


def _download(name: str, root: Path) -> None:
    dataset = dataset_of(name)
    try:
        if not dataset.downloads:
            raise DataError("torchvision does not offer it")
        datasets = optional_module("torchvision.datasets", "torchvision downloads")
        for kind, arguments in dataset.downloads:
            getattr(datasets, kind)(root, download=True, **arguments)
    # No network, a refused connection, a broken archive, a full disk: any library's own error.
    except Exception as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        files = ", ".join(str(root / file) for file in dataset.files)
        raise DataError(f"{name}: {reason}; download it from {dataset.page} and place {files}") from error
