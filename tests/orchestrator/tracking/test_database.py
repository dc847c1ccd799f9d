"""A SQLite store in a storage folder that is moved, copied, or shared by a group."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from told import Told
from traps import secret_in

from anytime_core.files import UnfitFileError
from orchestrator.ledger.ledger import Ledger
from orchestrator.tracking import database as sqlite_file
from orchestrator.tracking.delivered import is_current, run_links
from orchestrator.tracking.store import client
from orchestrator.tracking.uris import artifact_root, check_uri, database_file, default_uri

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend
TELL = """
import sys
from pathlib import Path
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.uris import default_uri
sweep, storage, report = map(Path, sys.argv[1:])
with Tracker(default_uri(storage), load(sweep), Ledger(storage), print) as tracker:
    pass
tracker.summarise(report, {})
print(*tracker.troubles())
"""


def tell(told: Told, storage: Path) -> str:
    """In a process of its own: within one MLflow remembers where the files of a run are."""
    report = storage.parent / "report"
    report.mkdir(exist_ok=True)
    (report / "report.html").write_text("a report")
    command = [sys.executable, "-c", TELL, str(told.sweep.path), str(storage), str(report)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def rows(storage: Path, query: str) -> list[tuple[str, ...]]:
    database = sqlite3.connect(storage / "mlflow" / "mlflow.db")
    try:
        return sorted(database.execute(query).fetchall())
    finally:
        database.close()


def test_a_copy_of_a_storage_writes_to_itself_alone(told: Told, tmp_path: Path) -> None:
    copy, before = tmp_path / "copy", files(told.ledger.local)
    shutil.copytree(told.ledger.local, copy)
    shutil.rmtree(copy / "mlflow" / "artifacts")
    (copy / "sweeps" / "small" / "tracked.json").unlink()
    said = f"this storage was at {told.ledger.local}; MLflow's runs now name their files in {copy}"
    assert tell(told, copy) == said
    assert tell(told, copy) == ""
    assert files(told.ledger.local) == before
    names = {path.name for path in (copy / "mlflow" / "artifacts").rglob("*") if path.is_file()}
    assert names == {"curves.svg", "metrics.parquet", "report.html"}
    root = (copy / "mlflow" / "artifacts").as_uri()
    for place in ("artifact_location FROM experiments WHERE name = 'small'", "artifact_uri FROM runs"):
        assert all(found.startswith(f"{root}/small") for (found,) in rows(copy, f"SELECT {place}"))


def test_a_storage_that_was_moved_has_been_told_and_holds_nothing_twice(told: Told, tmp_path: Path) -> None:
    old, new = told.ledger.local, tmp_path / "moved"
    runs, values = "SELECT run_uuid FROM runs", "SELECT count(*) FROM metrics"
    before, links = (rows(old, runs), rows(old, values)), run_links(told.ledger, "small")
    old.rename(new)
    moved = Ledger(new)
    assert run_links(moved, "small") == links
    assert tell(told, new) == f"this storage was at {old}; MLflow's runs now name their files in {new}"
    assert not old.exists()
    assert rows(new, f"{runs} WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'trial_id')") == before[0]
    assert rows(new, values) == before[1]
    assert is_current(moved, told.sweep, default_uri(new))


def test_the_links_of_a_storage_that_an_earlier_version_told_and_was_moved_are_there(
    told: Told, tmp_path: Path
) -> None:
    tracked = told.ledger.sweep_folder("small") / "tracked.json"
    tracked.write_text(tracked.read_text().replace("the storage's own", told.uri))
    links = run_links(told.ledger, "small")
    told.ledger.local.rename(tmp_path / "moved")
    assert links
    assert run_links(Ledger(tmp_path / "moved"), "small") == links


def test_another_path_to_the_same_folder_changes_nothing(told: Told, tmp_path: Path) -> None:
    before = rows(told.ledger.local, "SELECT artifact_uri FROM runs")
    (tmp_path / "link").symlink_to(told.ledger.local)
    sqlite_file.adopt(tmp_path / "link" / "mlflow" / "mlflow.db")
    assert rows(told.ledger.local, "SELECT artifact_uri FROM runs") == before


@pytest.mark.parametrize("name", ["100%", "a%20b", "%(here)s", "what?mode=ro", "a#b c", "%3F"])
def test_a_storage_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    uri = check_uri(default_uri(tmp_path / name))
    database = tmp_path / name / "mlflow" / "mlflow.db"
    client(uri).create_experiment("small", f"{artifact_root(uri)}/small")
    assert database_file(uri) == database
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [database]
    assert rows(tmp_path / name, "SELECT artifact_location FROM experiments WHERE name = 'small'") == [
        ((database.parent / "artifacts" / "small").as_uri(),)
    ]


def test_a_database_outside_a_storage_folder_keeps_its_places(told: Told, tmp_path: Path) -> None:
    before = rows(told.ledger.local, "SELECT artifact_uri FROM runs")
    for folder in ("other", "mlflow"):
        (tmp_path / folder).mkdir()
        shutil.copy(told.ledger.local / "mlflow" / "mlflow.db", tmp_path / folder)
        sqlite_file.adopt(tmp_path / folder / "mlflow.db")
    assert rows(tmp_path, "SELECT artifact_uri FROM runs") == before


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_new_database_follows_the_umask_and_its_journal_the_database(
    tmp_path: Path, mask: int, expected: int
) -> None:
    with umask(mask):
        client(f"sqlite:///{tmp_path}/mlflow.db")
    assert mode(tmp_path / "mlflow.db") == expected
    database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO experiment_tags VALUES ('a', 'b', 0)")
    assert mode(tmp_path / "mlflow.db-journal") == expected
    database.close()


def test_a_database_of_an_earlier_version_is_shared_where_its_folder_is(told: Told) -> None:
    folder = told.ledger.local / "mlflow"
    for shared, expected in ((0o755, 0o644), (0o2775, 0o664)):
        folder.chmod(shared)
        (folder / "mlflow.db").chmod(0o644)
        with umask(0o002):
            told.tell()
            (told.ledger.sweep_folder("small") / "tracked.json").unlink()
            told.tell()
        assert mode(folder / "mlflow.db") == expected


def test_whose_a_file_is_that_cannot_be_written_is_told_with_the_remedy(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root may write everything, the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda path, kind: False)
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    database = told.ledger.local / "mlflow" / "mlflow.db"
    tracker = told.try_to_tell()
    assert f"{database} cannot be written by this user: it is {database.owner()}'s, mode 0" in str(tracker.outage)
    assert f"chmod g+w {database}" in tracker.troubles()[0]


# What somebody else laid in the storage folder


@pytest.fixture
def shared(ledger: Ledger, tmp_path: Path) -> Path:
    """The place of the database, beside which others may write, and a secret of the user's own in ``home``."""
    secret_in(tmp_path / "home").chmod(0o600)
    folder = ledger.local / "mlflow"
    folder.mkdir()
    folder.chmod(0o770)
    return folder / "mlflow.db"


def test_a_link_in_the_place_of_the_database_is_refused(shared: Path, tmp_path: Path) -> None:
    secret = tmp_path / "home" / "secret"
    shared.symlink_to(secret)
    sqlite_file.share(shared)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    with pytest.raises(UnfitFileError, match="is a symbolic link"):
        sqlite_file.check_writable(shared)
    shared.unlink()
    shared.parent.rmdir()
    shared.parent.symlink_to(secret.parent)
    with pytest.raises(UnfitFileError, match="is a symbolic link"):
        sqlite_file.check_writable(shared)


def test_a_database_elsewhere_may_be_behind_a_link_of_its_users(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch(0o600)
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    sqlite_file.check_writable(tmp_path / "link.db")


def test_a_pipe_in_the_place_of_the_database_is_refused_at_once(shared: Path) -> None:
    os.mkfifo(shared)
    for open_it in (client, lambda uri: sqlite_file.create(shared, pytest.fail)):
        with pytest.raises(UnfitFileError, match="is a named pipe"):
            open_it(f"sqlite:///{shared}")
