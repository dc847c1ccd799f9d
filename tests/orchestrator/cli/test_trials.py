"""One trial is shown, and trained again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import cli
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed as sealed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.reruns import beside
from orchestrator.sweepfile.load import load

ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


def test_a_trial_is_shown_by_words_of_its_cell_or_digits_of_its_id(orchestrate, tmp_path, one_finished) -> None:
    one_finished(tmp_path / "runs")
    trial = load(Path(QUICKSTART)).trials[0]
    words = orchestrate("show", QUICKSTART, "ann", "2,8", "seed", "0")
    assert (words.code, words.err) == (0, "")
    assert words.out.startswith("ann (2,8) digits seed 0: finished\n")
    assert words.out == orchestrate("show", QUICKSTART, trial.id[:8]).out
    content = json.loads(orchestrate("show", QUICKSTART, "digits ann (2,8) seed 0", "--format", "json").out)
    assert content["trial"]["id"] == trial.id
    assert [row["error"] for row in content["errors"]] == [60, 50, 40, 30, 20, 10]
    assert content["provenance"]["code_version"] is content["provenance"]["environment"] is None  # not written down
    assert ["environment", "-"] in [line.split() for line in words.out.splitlines()]


def test_what_a_trial_said_is_shown_as_it_may_be_and_its_end_alone(orchestrate, tmp_path, one) -> None:
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    pending = orchestrate("logs", "one.yaml", "ann")
    assert (pending.code, pending.out) == (0, "")
    assert pending.err == f"note: ann (1,2) digits seed 0 ({trial.id}) has no log: not begun\n"
    attempt = ledger.begin(trial)
    silent = orchestrate("logs", "one.yaml", trial.id[:6], "-f")  # no driver runs
    assert silent.err.endswith("has no log: it printed nothing, or ran under a version that kept none\n")
    ledger.write_log(attempt, b"== attempt 1 ==\nred \x1b[31m\nkey s3cr3t-of-mine\nlast")
    done = orchestrate("logs", "one.yaml", "ann", AWS_SECRET_ACCESS_KEY="s3cr3t-of-mine")
    assert (done.code, done.err) == (0, "")
    assert done.out == "== attempt 1 ==\nred \\x1b[31m\nkey ***\nlast\n"
    assert orchestrate("logs", "one.yaml", "ann", "--tail", "1", "--follow").out == "last\n"
    assert orchestrate("logs", "one.yaml", "ann", "--tail", "-1").code == 2
    assert orchestrate("logs", "one.yaml", "nobody").code == 2


def test_a_rerun_is_shown_below_the_log_that_it_is_to_replace_and_machines_are_told_who_said_what(
    orchestrate, tmp_path, one
) -> None:
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    again = beside(ledger)
    first, later = ledger.begin(trial), again.begin(trial)
    head = f"== attempt 1 on {first.host}, process {first.pid}, since {first.began} =="
    ledger.write_log(first, f"== 7 bytes are dropped here ==\n{head}\nold s3cr3t-of-mine".encode())
    assert "again" not in orchestrate("logs", "one.yaml", "ann").out
    again.write_log(later, f"{head}\nnew\n".encode())
    assert orchestrate("logs", "one.yaml", "ann").out.splitlines()[1:] == [
        head, "old s3cr3t-of-mine", "== trained again ==", head, "new"
    ]  # fmt: skip
    assert orchestrate("logs", "one.yaml", "ann", "--tail", "1", "-f").out == "new\n"  # no driver runs
    key = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-of-mine"}
    rows = json.loads(orchestrate("logs", "one.yaml", "ann", "--tail", "2", "--format", "json", **key).out)
    whose = {"attempt": 1, "place": first.host, "process": first.pid, "began": first.began}
    assert rows == [{"rerun": False, **whose, "line": "old ***"}, {"rerun": True, **whose, "line": "new"}]
    table = orchestrate("logs", "one.yaml", "ann", "--format", "csv").out.splitlines()
    assert table[:2] == ["rerun,attempt,place,process,began,line", "False,,,,,'== 7 bytes are dropped here =="]
    refused = orchestrate("logs", "one.yaml", "ann", "--format", "json", "-f")
    assert (refused.code, refused.out) == (2, "")
    assert "leave out one of them" in refused.err


def test_a_trial_that_runs_is_followed_until_it_ends(tmp_path, one) -> None:
    """By a command in a process of its own, while the trial's driver is this process."""
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    ledger.make()
    with ledger.drive("one"):
        attempt = ledger.begin(trial, "one")
        ledger.write_log(attempt, b"a\nb\nhalf")
        command = [ORCHESTRATE, "logs", str(one), "ann", "-f", "--tail", "1", "--storage", str(ledger.storage)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout
            assert following.stdout.readline() == "b\n"
            ledger.write_log(attempt, b"a\nb\nhalf and half\nc\n")
            assert [following.stdout.readline() for _ in range(2)] == ["half and half\n", "c\n"]
            ledger.write_log(attempt, b"a\nb\nhalf and half\nc\nlast")
            ledger.fail(attempt, "it broke")
            assert following.communicate(timeout=60)[0] == "last\n"
    assert following.returncode == 0


def test_a_trial_is_reproduced_to_the_same_bits_or_told_how_it_differs(orchestrate, tmp_path, one, capsys) -> None:
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    run_trial(trial, WorkerContext(storage=ledger.storage, data_root=tmp_path / "data"), lambda epochs: None)
    done = orchestrate("reproduce", "one.yaml", "ann", "--no-md5", "--format", "json")
    assert (done.code, json.loads(done.out)["same_bits"]) == (0, True)
    assert "training ann (1,2) digits seed 0 again: 22 steps, 1 thread\n" in done.err
    assert "[1/1 done, 0 running, 0 failed" in done.err

    result = ledger.folder(trial.id) / "result.json"
    content = sealed.unpack(result.read_bytes())
    result.write_bytes(sealed.pack(content | {"config": content["config"] | {"seed": 3}}))
    with pytest.raises(SystemExit) as end:  # here, as torch is imported already
        cli.main(["reproduce", str(one), "ann", "--storage", str(ledger.storage)])
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert out.startswith(f"other bits: ann (1,2) digits seed 0 ({trial.id})\n")
    assert ["config:", "seed", "3", "0"] in [line.split() for line in out.splitlines()]


def test_outcomes_that_are_all_there_are_counted_without_ray_or_torch(one, tmp_path) -> None:
    (trial,) = load(one).trials
    ledger = Ledger(tmp_path / "runs")
    run_trial(trial, WorkerContext(storage=ledger.storage, data_root=tmp_path / "data"), lambda epochs: None)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    absent = "; ".join(f"sys.modules[{name!r}] = None" for name in ("ray", "torch", "mlflow"))
    code = f"import sys; {absent}; from orchestrator import cli; cli.main()"
    command = [sys.executable, "-c", code, "outcomes", str(one), "--storage", str(ledger.storage), "--format", "csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "outcomes,trials\nthere,1\nwritten,0\nnot finished,0\nfailed,0\n"
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_outcomes_of_what_has_not_ended_are_pending_and_limits_of_a_cluster_refused(orchestrate, one) -> None:
    done = orchestrate("outcomes", "one.yaml", "--format", "json")
    counts = {row["outcomes"]: row["trials"] for row in json.loads(done.out)}
    assert (done.code, done.err) == (0, "")
    assert counts == {"there": 0, "written": 0, "not finished": 1, "failed": 0}
    refused = orchestrate("outcomes", "one.yaml", "--slots", "1", "--address", "head:6379")
    assert (refused.code, refused.out) == (2, "")
    assert "--slots 1 limits what a sweep uses of this machine" in refused.err
