"""Whole sweeps on storage other than a healthy disk: in a bucket of a real S3 server, and on a disk that is full."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cluster_user import ONE_FIGURE, SWEEP, TRIALS, Finished, User, tables_of, wait_until
from full_disk import disk_of, grow
from s3_server import CREDENTIALS, s3_server

from orchestrator.ledger.storage import Storage, local_folder, storage_at

pytestmark = pytest.mark.cluster


@pytest.fixture
def bucket(user, monkeypatch) -> Iterator[Storage]:
    """The bucket that the user's storage is in."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
        user.environment[name] = value
    with s3_server() as options:
        user.storage = f"s3://bucket/team/runs{options}"
        yield storage_at(user.storage)


def ended(bucket: Storage) -> list[str]:
    names = [f"trials/{trial}/result.json" for trial in bucket.names("trials")]
    return sorted(bucket.stamps(names))


def test_a_sweep_in_a_bucket_is_killed_goes_on_and_mends_what_is_damaged(
    finished: tuple[User, Finished], user: User, bucket: Storage, monkeypatch
) -> None:
    process = user.start("sweep")
    wait_until(lambda: len(ended(bucket)) >= 2 or process.poll() is not None, "two trials have ended")
    during = user.run("status")
    process.kill()
    process.communicate()
    assert f"run by process {process.pid}" in during.stdout
    broken, kept = ended(bucket)[:2]
    whole, other = bucket.read(broken), bucket.read(kept)
    bucket.write(broken, whole.replace(b'"steps": 154', b'"steps": 144'))
    shown = user.run("report")
    assert f"warning: {bucket.address(broken)} is damaged: checksum does not match" in shown.stderr

    done = user.run("sweep")
    assert done.code == 0, done.stderr
    assert tables_of(done.stdout) == tables_of(finished[1].stdout)
    assert "waiting for up to" not in done.stderr  # the dead driver was one of this machine
    assert f"{bucket.address(broken)} is damaged: kept as result.json.damaged" in done.stderr
    assert json.loads(bucket.read(broken))["result"] == json.loads(whole)["result"]
    assert bucket.read(kept) == other
    assert len(ended(bucket)) == TRIALS
    assert [len(bucket.names(f"trials/{trial}/checkpoints")) for trial in bucket.names("trials")] == [1] * TRIALS

    monkeypatch.setenv("XDG_CACHE_HOME", user.environment["XDG_CACHE_HOME"])
    assert (local_folder(str(user.storage)) / "mlflow" / "mlflow.db").exists()
    assert {path.name for path in user.folder.iterdir()} <= {"small.yaml", "cache", ".config"}
    for said in (during, shown, done):
        assert "secret" not in said.stdout + said.stderr
        assert "Traceback" not in said.stderr


def test_a_full_disk_fails_trials_in_a_line_each_and_loses_nothing(finished: tuple[User, Finished], user: User) -> None:
    user.sweep_file.write_text(f"{SWEEP}{ONE_FIGURE}\nretries: {{storage: 1}}\n")
    with disk_of(user.folder / "runs", kilobytes=600):
        full = user.run("sweep")
        assert full.code == 1
        assert "Traceback" not in full.stderr
        assert "--- Logging error ---" not in full.stderr
        assert full.stderr.count("No space left on device") >= TRIALS
        assert "MLflow at sqlite:" in full.stderr
        for path in user.folder.glob("runs/trials/*/*.json"):
            json.loads(path.read_text())
        kept = user.results()

        user.run("status")
        grow(user.folder / "runs", kilobytes=50_000)
        done = user.run("sweep")
        assert done.code == 0, done.stderr
        assert tables_of(done.stdout) == tables_of(finished[1].stdout)
        assert {trial_id: user.results()[trial_id] for trial_id in kept} == kept
        pending = dict(user.database().execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall())
        assert pending == {"FINISHED": TRIALS + 1}  # and the summary
