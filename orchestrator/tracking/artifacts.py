"""The files of MLflow's runs: where they may lie, and what is put and deleted there.

MLflow keeps the address of each run's files, and whoever can write its database, or runs its server, chooses it. So an
address is checked before anything is read, written or deleted there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from anytime_core.files import plain_files
from orchestrator.ledger.storage import LocalStorage
from orchestrator.tracking import run_files
from orchestrator.tracking.refusals import TOO_LARGE, Refusal, cause, passes, status
from orchestrator.tracking.uris import artifact_root, database_file, is_server, safe_uri

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

BY_SERVER = "mlflow-artifacts"
"""The scheme of files that MLflow's server keeps itself."""
BUCKETS = ("s3", "gs", "wasbs", "abfss", "r2", "b2", "oss", "hdfs")
"""The schemes of stores that know who writes to them."""
FOLDERS = ("", "file")
MLFLOWS_OWN = re.compile(r".*/mlruns/\d+(/[0-9a-f]{32}/artifacts)?")
"""How MLflow names the folder of an experiment or a run where nobody chooses it."""


class ForeignPlaceError(Exception):
    """An address where no file of a run of ours may be."""


def check_place(place: str, uri: str) -> None:
    """Raises ForeignPlaceError unless ``place`` is one that MLflow at ``uri`` may name for the files of a run.

    Beside a SQLite file that is a folder below its ``artifacts``; links are followed first. A server may name itself or
    a bucket, but no folder of this machine. Of a database server, a folder has to be one that MLflow made.
    """
    parts = urlsplit(place)
    folder = Path(unquote(parts.path)).resolve() if parts.scheme in FOLDERS else None
    if database := database_file(uri):
        root = Path(unquote(urlsplit(str(artifact_root(uri))).path)).resolve()
        if folder is None or root not in folder.parents:
            raise ForeignPlaceError(f"beside {database} files go to folders below {root} alone")
    elif is_server(uri):
        own = parts.scheme == BY_SERVER and parts.netloc in ("", urlsplit(uri).netloc.rpartition("@")[2])
        if not own and parts.scheme not in BUCKETS:
            raise ForeignPlaceError(
                "a server may not name a folder of this machine, nor another server; "
                "allowed: a bucket, or the server itself, as after mlflow server --serve-artifacts"
            )
    elif parts.scheme not in BUCKETS and not (folder and MLFLOWS_OWN.fullmatch(str(folder))):
        raise ForeignPlaceError(
            "a database server may not name this place; allowed: a bucket, or a folder that MLflow made below mlruns"
        )


def delete_beside(place: str, uri: str) -> int:
    """Deletes the files of a trial's run that we know we wrote, in a folder beside a SQLite database. Returns their
    bytes. Raises ForeignPlaceError, OSError."""
    check_place(place, uri)
    folder = Path(unquote(urlsplit(place).path))
    files, size = LocalStorage(folder.parent), 0
    for name, (_, bytes_, _) in files.walk(folder.name).items():
        if name.removeprefix(f"{folder.name}/").partition("/")[0] in run_files.NAMES:
            files.delete(name)
            size += bytes_
    return size


def repository(place: str, uri: str) -> ArtifactRepository:
    """MLflow's client of a place. Raises ForeignPlaceError, or whatever MLflow raises."""
    check_place(place, uri)
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(place, tracking_uri=uri)


class Artifacts:
    """The files of one run at ``place``, by MLflow at ``uri``. ``answers`` tells whether MLflow itself is there, and so
    only the place of the files is not."""

    def __init__(self, place: str, uri: str, answers: Callable[[], bool]) -> None:
        self.place, self._uri, self._answers = place, uri, answers

    @cached_property
    def _repository(self) -> ArtifactRepository:
        return repository(self.place, self._uri)

    def top(self) -> set[str]:
        """The names of the files and folders at the top. Raises whatever MLflow raises, or the client of a bucket."""
        return {artifact.path for artifact in self._repository.list_artifacts()}

    def put(self, path: Path, what: str, below: str | None = None) -> list[Refusal]:
        """Puts a file into the folder ``below``. Returns what was refused of it: nothing, or it all. Raises whatever
        passes in time."""
        try:
            self._repository.log_artifact(str(path), below)
            return []
        except Exception as error:  # whatever MLflow raises, or the client of a bucket
            return [self.refused(error, what, path.stat().st_size)]

    def put_all(self, folder: Path, what: str) -> list[Refusal]:
        """Puts all files of a folder, one by one; once the place itself refuses one, the others are not tried."""
        refused: list[Refusal] = []
        for name in names_in(folder):
            below = str(PurePosixPath(name).parent)
            refused += self.put(folder / name, f"{name} of {what}", None if below == "." else below)
            if refused and not refused[-1].too_large:
                break
        return refused

    def delete(self, names: Iterable[str]) -> None:
        """Deletes those that are there; MLflow's own client cannot."""
        for name in set(names) & set(self._names()):
            self._repository.delete_artifacts(name)

    def _names(self, below: str | None = None) -> Iterator[str]:
        """The paths of all files."""
        for artifact in self._repository.list_artifacts(below):
            if artifact.is_dir:
                yield from self._names(artifact.path)
            else:
                yield artifact.path

    def refused(self, error: Exception, what: str, size: int = 0) -> Refusal:
        """What an error says of a file, or of the place of all files. Raises the error if that passes in time."""
        if passes(error) or not (status(error) == TOO_LARGE or self._answers()):
            raise error
        return refusal(what, error, size, self.place)


def refusal(what: str, error: Exception, size: int, place: str) -> Refusal:
    """That ``what``, of so many bytes, was refused at a place, and why."""
    large = status(error) == TOO_LARGE
    return Refusal(what=what, size=size, place=safe_uri(place), reason=safe_uri(cause(error)), too_large=large)


def names_in(folder: Path) -> list[str]:
    """The files of a folder and of those in it, as paths from there."""
    return sorted(path.relative_to(folder).as_posix() for path in plain_files(folder))
