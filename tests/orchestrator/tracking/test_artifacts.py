"""Where MLflow says that files lie is the word of whoever writes its database, or runs its server."""

from __future__ import annotations

import getpass
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from refusing_proxy import RefusingProxy
from told import Told

from orchestrator import doctor
from orchestrator.doctor import State
from orchestrator.tracking.artifacts import ForeignPlaceError, check_place
from orchestrator.tracking.store import LEDGER_TAG, SUMMARY, SWEEP_TAG, Store, client
from orchestrator.tracking.tracker import Tracker

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend
RUN = "08e1048447a6414db45012fce11e13d6"
SERVER, DATABASE = "https://me:secret@tracking:5000", "postgresql://db/mlflow"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of the user's, with files of names that a sweep writes too."""
    folder = tmp_path / "home"
    (folder / "figures").mkdir(parents=True)
    for name in ("thesis.tex", "report.html", "figures/errors.svg", "figures/old.svg"):
        (folder / name).write_text("mine")
    return folder


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    for name in ("report.html", "figures/errors.svg", "figures/old.svg"):
        (folder / name).write_text("ours")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def summary_folder(told: Told) -> Path:
    runs = told.client.search_runs([told.experiment], f"tags.kind = '{SUMMARY}'")
    return told.ledger.local / "mlflow" / "artifacts" / "small" / runs[0].info.run_id / "artifacts"


def write_database(told: Told, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(told.ledger.local / "mlflow" / "mlflow.db")) as database, database:
        database.execute(statement, values)


def summarised(told: Told, report: Path) -> Tracker:
    tracker = told.tell()
    tracker.summarise(report, {})
    return tracker


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        (SERVER, f"mlflow-artifacts:/1/{RUN}/artifacts"),
        (SERVER, f"mlflow-artifacts://tracking:5000/1/{RUN}/artifacts"),
        (SERVER, f"s3://bucket/1/{RUN}/artifacts"),
        (DATABASE, f"gs://bucket/1/{RUN}/artifacts"),
        (DATABASE, f"file:///srv/mlruns/1/{RUN}/artifacts"),
        (DATABASE, "/srv/mlruns/0"),
    ],
)
def test_places_that_mlflow_may_name(uri: str, place: str) -> None:
    check_place(place, uri)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        *((SERVER, place) for place in ("file:///home/me", "/home/me", "home", "", "https://elsewhere/x", "ftp://x/y")),
        (SERVER, "mlflow-artifacts://elsewhere/1"),
        (SERVER, f"file:///srv/mlruns/1/{RUN}/artifacts"),
        *((DATABASE, place) for place in ("file:///home/me", "/home/me/mlruns", "mlflow-artifacts:/1", "http://x/y")),
        (DATABASE, f"/srv/mlruns/1/{RUN}/artifacts/../../../../me"),
    ],
)
def test_places_that_mlflow_may_not_name(uri: str, place: str) -> None:
    with pytest.raises(ForeignPlaceError, match="allowed"):
        check_place(place, uri)


def test_beside_a_sqlite_file_files_go_below_artifacts_alone(tmp_path: Path) -> None:
    uri, root = f"sqlite:///{tmp_path / 'my runs' / 'mlflow.db'}", tmp_path / "my runs" / "artifacts"
    (root / "sweep").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    check_place((root / "sweep" / "run").as_uri(), uri)
    for place in (root, root / "link", root / "link" / "x", root / "sweep" / ".." / ".." / "x", tmp_path):
        with pytest.raises(ForeignPlaceError, match="alone"):
            check_place(f"file://{place}", uri)
    with pytest.raises(ForeignPlaceError, match="alone"):
        check_place("s3://bucket/run", uri)


def test_a_report_takes_away_what_earlier_reports_left_and_nothing_else(told: Told, report: Path) -> None:
    summarised(told, report)
    kept = summary_folder(told)
    assert content(kept) == content(report)
    (kept / "notes.txt").write_text("a colleague's")
    (report / "figures" / "old.svg").unlink()
    summarised(told, report)
    assert content(kept) == content(report) | {"notes.txt": "a colleague's"}


def test_a_database_cannot_have_the_users_files_deleted_or_overwritten(told: Told, report: Path, home: Path) -> None:
    summarised(told, report)
    (report / "figures" / "old.svg").unlink()
    before = content(home)
    write_database(told, "UPDATE runs SET artifact_uri = ?", home.as_uri())
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    tracker = told.try_to_tell()
    tracker.summarise(report, {})
    (said,) = tracker.troubles()
    assert f"the place of its files, {home.as_uri()}, refused 3 items" in said
    assert f"go to folders below {told.ledger.local / 'mlflow' / 'artifacts'} alone" in said
    assert content(home) == before


def test_a_link_in_place_of_a_runs_folder_is_not_followed(told: Told, report: Path, home: Path) -> None:
    summarised(told, report)
    (report / "figures" / "old.svg").unlink()
    before, kept = content(home), summary_folder(told)
    shutil.rmtree(kept)
    kept.symlink_to(home)
    tracker = told.tell()
    tracker.summarise(report, {})
    assert f"the place of its files, {kept.as_uri()}, refused" in tracker.troubles()[0]
    assert content(home) == before


def test_links_in_a_runs_folder_are_not_followed(told: Told, report: Path, home: Path) -> None:
    summarised(told, report)
    before, kept = content(home), summary_folder(told)
    (kept / "report.html").unlink()
    (kept / "report.html").symlink_to(home / "thesis.tex")
    shutil.rmtree(kept / "figures")
    (kept / "figures").symlink_to(home / "figures")
    (report / "figures" / "old.svg").unlink()
    tracker = told.tell()
    tracker.summarise(report, {})
    assert "refused figures/errors.svg of the report" in tracker.troubles()[0]
    assert content(home) == before


def test_a_link_in_place_of_the_database_is_not_followed(told: Told, tmp_path: Path) -> None:
    other, database = tmp_path / "places.sqlite", told.ledger.local / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(other)) as browser, browser:
        browser.execute("CREATE TABLE visits (url TEXT)")
    before = other.read_bytes()
    database.unlink()
    database.symlink_to(other)
    (told.ledger.sweep_folder("small") / "tracked.json").unlink()
    tracker = told.try_to_tell()
    assert tracker.outage
    assert f"{database}: is a link, which is not followed" in tracker.outage
    assert other.read_bytes() == before


@pytest.mark.parametrize("tags", [{}, {LEDGER_TAG: "another"}])
def test_an_experiment_that_somebody_else_made_is_not_taken_for_ours(
    told: Told, tmp_path: Path, tags: dict[str, str]
) -> None:
    theirs = told.client.create_experiment("theirs", (tmp_path / "theirs").as_uri(), tags)
    ours = told.experiment
    told.client.delete_experiment_tag(ours, SWEEP_TAG)  # as a sweep of another name
    told.client.rename_experiment(ours, "old name")
    told.client.rename_experiment(theirs, "small")
    store = Store(told.uri, told.sweep, told.ledger)
    assert store.experiment != theirs
    assert told.client.get_experiment(store.experiment).name == f"small ({getpass.getuser()})"
    assert told.client.get_experiment(theirs).tags == tags


def test_a_server_cannot_have_files_written_into_a_folder_of_this_machine(
    trained: Told, proxy: RefusingProxy, report: Path, home: Path
) -> None:
    before = content(home)
    client(proxy.uri).create_experiment("small", home.as_uri(), {LEDGER_TAG: trained.ledger.id})
    tracker = trained.try_to_tell()
    tracker.summarise(report, {})
    (said,) = tracker.troubles()
    assert f"MLflow at {proxy.uri} answers, but the place of its files, {home.as_uri()}/" in said
    assert "a server may not name a folder of this machine" in said
    assert content(home) == before


def test_the_doctor_writes_nothing_where_no_file_of_ours_may_be(proxy: RefusingProxy, home: Path) -> None:
    client(proxy.uri).create_experiment("newest", home.as_uri())
    check = doctor.tracking(proxy.uri)
    assert check.state is State.PROBLEM
    assert "a server may not name a folder of this machine" in check.found
