"""Whether an MLflow server or database can be used at all: asked before a sweep, and by the doctor."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from orchestrator.errors import TrackingError
from orchestrator.tracking import artifacts, run_files
from orchestrator.tracking import database as sqlite_file
from orchestrator.tracking.refusals import TOO_LARGE, Refusal, cause, status
from orchestrator.tracking.store import client
from orchestrator.tracking.uris import check_listening, database_file, safe_uri, server_version

PROBE = "orchestrate.doctor"
OLDEST_SERVER = (3, 0)
"""Of those that know all that is asked of them here."""
UNKNOWN = 404
FILES_FAULT = "answers, but files cannot be written to"


class _Place(Protocol):
    """Where files are kept."""

    def log_artifact(self, path: str, /) -> None: ...

    def delete_artifacts(self, name: str, /) -> None: ...


def check_version(uri: str) -> None:
    """Raises TrackingError for a server that says it is too old. One that says nothing, or is not there, is none."""
    offered = server_version(uri)
    if offered and offered < OLDEST_SERVER:
        shown, needed = (".".join(map(str, version)) for version in (offered, OLDEST_SERVER))
        raise TrackingError(f"the server is MLflow {shown}, must be {needed} or later")


def check_writable(uri: str, sizes: Sequence[int] = ()) -> list[Refusal]:
    """Writes a tag and files for an experiment and takes them away again. Returns which networks of these ``sizes``, in
    bytes and ascending, are too large for a server. Raises TrackingError where nothing can be written.

    A SQLite file that is not there yet is not made.
    """
    database = database_file(uri)
    if database and not database.exists():
        return []
    try:
        check_listening(uri)
        check_version(uri)
        store = client(uri)
        if database:
            sqlite_file.check_writable(database)
        for experiment in store.search_experiments(max_results=1):
            store.set_experiment_tag(experiment.experiment_id, PROBE, "writable")
            _delete_tag(store, experiment.experiment_id)
    except TrackingError:
        raise
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(cause(error)) from error
    return _check_files(store, uri, sizes)


def _delete_tag(store: Any, experiment: str) -> None:
    """A server that is older than this client may not know how: then the tag stays."""
    try:
        store.delete_experiment_tag(experiment, PROBE)
    except Exception as error:  # whatever MLflow raises
        if status(error) != UNKNOWN:
            raise


def _check_files(store: Any, uri: str, sizes: Sequence[int]) -> list[Refusal]:
    """Where the next sweep's files would go, or would with a server's default."""
    database = database_file(uri)
    place = str(database.absolute().parent) if database else ""
    try:
        with TemporaryDirectory(dir=place or None) as folder:  # beside a SQLite file this is the check
            for experiment in [] if database else store.search_experiments(max_results=1):
                place = experiment.artifact_location
                repository, probe = artifacts.repository(place, uri), Path(folder) / PROBE
                _leave_for_a_moment(repository, probe, size=1)
                return _too_large(repository, probe, sizes, safe_uri(place))
        return []
    except Exception as error:  # whatever MLflow raises, or the client of a bucket
        raise TrackingError(f"{FILES_FAULT} {safe_uri(place)}: {cause(error)}") from error


def _leave_for_a_moment(repository: _Place, probe: Path, size: int) -> None:
    probe.write_bytes(b"")
    os.truncate(probe, size)
    repository.log_artifact(str(probe))
    repository.delete_artifacts(probe.name)


def _too_large(repository: _Place, probe: Path, sizes: Sequence[int], place: str) -> list[Refusal]:
    """The networks that a server, or a proxy before it, refuses for their size. The largest is tried first: where that
    is taken, so are all others."""
    said: dict[int, str] = {}

    def refused(size: int) -> bool:
        try:
            _leave_for_a_moment(repository, probe, run_files.file_size(size))
        except Exception as error:  # whatever MLflow raises
            if status(error) != TOO_LARGE:
                raise
            said[size] = cause(error)
        return size in said

    if not sizes or not refused(sizes[-1]):
        return []
    large = sizes[bisect_left(sizes, True, hi=len(sizes) - 1, key=refused) :]
    return [
        Refusal(what="a network", size=size, place=place, reason=said[large[0]], too_large=True, weights=size)
        for size in large
    ]
