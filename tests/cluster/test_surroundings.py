"""What surrounds a user costs no sweep its tables: variables, encodings, folders, a standard output that is full."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster_user import User

pytestmark = pytest.mark.cluster
ONE = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 4, batch_size: 64, learning_rate: {0: 0.1}}
report: {figures: [cost]}
"""


def private_folders(user: User) -> set[Path]:
    """Those that the command lines of Ray's processes name, and nobody else may look into."""
    found = set()
    for process in user.processes():
        with suppress(psutil.Error):
            found |= set(re.findall(r"/tmp/ray-\w{8}\b", " ".join(process.cmdline())))
    private = set()
    for folder in map(Path, found):
        with suppress(FileNotFoundError):  # at the end
            private |= {folder} if folder.stat().st_mode & 0o777 == 0o700 else set()
    return private


def test_a_sweep_from_a_notebook_of_a_batch_job_in_an_old_locale_shows_all_there_is(tmp_path: Path) -> None:
    user = User(tmp_path, ONE)
    job = tmp_path / ("job" * 30)
    job.mkdir()
    user.environment |= {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/proc/none",
        "PYTHONIOENCODING": "latin-1",
        "TMPDIR": str(job),
    }
    process = user.start("sweep")
    used: set[Path] = set()
    while process.poll() is None:
        used |= private_folders(user)
        time.sleep(0.5)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "-" * 40 in stdout
    page = user.storage / "sweeps" / "small" / "report" / "report.html"
    assert f"The whole report: {page}\n" in stdout
    assert (page.parent / "figures" / "cost.png").exists()
    (folder,) = used
    assert not folder.exists()
    assert list(job.iterdir()) == []
    assert "error" not in stderr.replace("% error", "")


def test_a_sweep_whose_output_and_report_have_no_place_says_so_and_loses_no_more(tmp_path: Path) -> None:
    """The next one, of the same command, leaves what this one could not."""
    user = User(tmp_path, ONE)
    report = user.storage / "sweeps" / "small" / "report"
    report.parent.mkdir(parents=True)
    report.write_text("in the way")
    done = user.run("sweep")
    assert done.code == 1
    assert "(1,2)     ann" in done.stdout
    assert "The whole report" not in done.stdout
    assert f"error: the report is not written: {report}/report.md: Not a directory\n" in done.stderr
    report.unlink()
    user.before = ("sh", "-c", '"$@" >/dev/full', "sh")
    again = user.run("sweep")
    assert again.code == 1
    assert again.stderr.endswith("error: standard output: No space left on device; not all that there is was printed\n")
    assert (report / "report.html").exists()
