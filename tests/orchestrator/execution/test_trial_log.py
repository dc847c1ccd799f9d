"""All that a process says while it trains is in the trial's log, whoever says it, and also if the process is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.log_file import FIRST, LAST

BEGIN = """
import ctypes, logging, os, subprocess, sys, time, warnings
from pathlib import Path
from trials import digits_trial
from orchestrator.execution import trial_log
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import Resources, Trial, cell_of, trial_id

trial_log.INTERVAL = 0.05
config = digits_trial(c=2, steps=44, batch_size=64, rates={0: 0.1})
trial = Trial(id=trial_id(config), config=config, cell=cell_of("ann", config.network, config), resources=Resources())
ledger = Ledger(Path("runs"))
ledger.make()
attempt = ledger.begin(trial, device="1 CPU")
print("before")
with trial_log.kept(ledger, attempt):
"""


def started(folder: Path, lines: str) -> subprocess.Popen[str]:
    """Runs these lines in the block of an attempt, in a process of its own."""
    code = BEGIN + "".join(f"    {line}\n" for line in lines.strip().splitlines()) + "print('after')\n"
    path = os.pathsep.join(map(str, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-node"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(folder: Path, lines: str) -> list[str]:
    """The lines of the log, once the process has ended as it should."""
    process = started(folder, lines)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "before\nafter\n"), out
    return log_in(folder).splitlines()


def log_in(folder: Path) -> str:
    paths = list(folder.glob("runs/trials/*/log.txt"))
    return Ledger(folder / "runs").log(paths[0].parent.name) if paths else ""


def test_whoever_speaks_is_heard_in_order_and_without_secrets(tmp_path) -> None:
    words = """
print("printed", end=" ")
print("in parts")
ctypes.CDLL(None).puts(b"by C")
ctypes.CDLL(None).fflush(None)
os.write(2, b"to a descriptor\\n")
subprocess.run(["echo", "by a child"])
logging.getLogger("mine").info("logged %s", 1)
logging.getLogger("mine").debug("not this")
warnings.warn("careful")
print("10 %\\r20 %\\r30 %")
print("key s3cr3t-of-node, password=hunter22")
print("unfinished", end="")
"""
    head, *lines = said(tmp_path, words)
    assert head.startswith("== attempt 1 on ")
    assert ", process " in head
    assert "1 CPU" in head
    assert [line for line in lines if "warn" not in line.lower()] == [
        *("printed in parts", "by C", "to a descriptor", "by a child", "INFO mine: logged 1"),
        *("30 %", "key ***, password=***", "unfinished"),
    ]
    assert any("UserWarning: careful" in line for line in lines)


def test_what_is_said_while_the_disk_gets_back_what_was_taken_is_not_lost(tmp_path) -> None:
    """Twice somebody speaks when the keeper has just read."""
    words = """
trial_log.LARGE = 10
add, late = trial_log._Said._add, [b"late, the second\\n", b"late, the first\\n"]
trial_log._Said._add = lambda self, words: (add(self, words), late and (os.write(1, late[-1]), late.pop()))
print("long enough to be given back", flush=True)
while late: time.sleep(0.01)
print("last")
"""
    _, *lines = said(tmp_path, words)
    assert lines == ["long enough to be given back", "late, the first", "late, the second", "last"]


def test_where_no_hole_can_be_made_in_a_file_it_is_emptied(tmp_path) -> None:
    words = """
trial_log.LARGE, trial_log._punched = 10, lambda file, size: False
print("long enough to be given back")
time.sleep(0.5)
print("and this, too, is longer than that")
time.sleep(0.5)
print("last")
"""
    _, *lines = said(tmp_path, words)
    assert lines == ["long enough to be given back", "and this, too, is longer than that", "last"]


def test_logging_that_is_set_up_already_is_left_as_it_is(tmp_path) -> None:
    words = """
print(logging.getLogger().level == logging.INFO, file=sys.stderr)
"""
    assert said(tmp_path, words)[1:] == ["True"]
    set_up = BEGIN.replace("print(", "logging.basicConfig(format='mine %(message)s')\nprint(")
    code = set_up + "    logging.getLogger().warning('w')\n    logging.getLogger().info('i')\n"
    path = os.pathsep.join(map(str, sys.path))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, check=True)
    assert log_in(tmp_path).splitlines()[-1:] == ["mine w"]


def test_an_attempt_that_says_nothing_writes_nothing(tmp_path) -> None:
    assert said(tmp_path, "time.sleep(0.2)") == []
    assert list(tmp_path.glob("runs/trials/*/log.txt")) == []


def test_a_process_that_is_killed_leaves_its_words_and_the_next_attempt_adds_its_own(tmp_path) -> None:
    process = started(tmp_path, "print('half a line', end='')\ntime.sleep(600)")
    deadline = time.monotonic() + 60
    while "half a line" not in log_in(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first, half, second, words = said(tmp_path, "print('again')")
    assert (first.split()[:3], second.split()[:3]) == (["==", "attempt", "1"], ["==", "attempt", "2"])
    assert (half, words) == ("half a line", "again")


@pytest.mark.parametrize("at_once", [False, True], ids=["line by line", "at once"])
def test_words_without_end_are_cut_in_the_middle(tmp_path, at_once: bool) -> None:
    words = "text = ''.join(f'line {n:09}\\n' for n in range(100_000))\n"
    words += "os.write(1, text.encode())" if at_once else "for line in text.splitlines(): print(line)"
    lines = said(tmp_path, words)
    assert lines[1] == "line 000000000"
    assert lines[-1] == "line 000099999"
    (note,) = (line for line in lines if "dropped" in line)
    dropped = int(note.split()[1])
    (path,) = tmp_path.glob("runs/trials/*/log.txt")
    kept = path.stat().st_size - len(note) - 1
    assert FIRST + LAST - 1000 < kept <= FIRST + LAST
    assert kept + dropped == 100_000 * 15 + len(lines[0]) + 1


def test_a_storage_that_fails_is_a_warning_and_no_failure(tmp_path) -> None:
    words = """
(ledger.folder(trial.id) / "log.txt").mkdir()
print("lost")
"""
    process = started(tmp_path, words)
    before, warning, after = process.communicate(timeout=60)[0].splitlines()
    assert (process.returncode, before, after) == (0, "before", "after")
    assert re.fullmatch(r"what [0-9a-f]{16} said could not be kept: .*log\.txt.*", warning)
