"""Whatever a process has started ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from orchestrator.system.reaper import MARK, Family, reaping

REPOSITORY = Path(__file__).parents[3]
PROGRAM = """
import os, subprocess, sys, time
from orchestrator.system.reaper import reaping
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
fork = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], start_new_session=True)", *sleep]
with reaping() as mark:
    subprocess.Popen(fork, env=os.environ | dict(mark), start_new_session=True)
    subprocess.Popen(sleep)  # without the mark: none of our business
    print("ready", flush=True)
    sys.stdin.read()
"""

DISGUISED = """
import os, subprocess, sys
from orchestrator.system.reaper import reaping
# The child overwrites its environment, as Ray's agents do; its parent leaves it after so many seconds.
hide = '''
import ctypes, sys, time
text = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(text[47]), int(text[48])
ctypes.memset(start, 0, end - start)
print("hidden", flush=True)
time.sleep(600)
'''
parent = '''
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(float(sys.argv[2]))
'''
with reaping() as mark:
    command = [sys.executable, "-c", parent, hide, *sys.argv[1:]]
    subprocess.Popen(command, env=os.environ | dict(mark), start_new_session=True)
    sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", ["kill", "signals to all and kill", "end"])
def test_it_ends_with_all_that_carries_the_mark(how: str) -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, start_new_session=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        parent = psutil.Process(process.pid)
        wait_until(lambda: len(parent.children(recursive=True)) == 4)
        (unmarked,) = [
            child
            for child in parent.children()
            if "ORCHESTRATE_REAPED" not in child.environ() and "-P" not in child.cmdline()
        ]
        others = [child for child in parent.children(recursive=True) if child != unmarked]
        if how == "end":
            process.stdin.close()
        else:
            if how != "kill":
                (reaper,) = [child for child in others if "-P" in child.cmdline()]
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(reaper.pid, number)
            process.kill()
        wait_until(lambda: not alive(others))
        assert alive([unmarked])
        unmarked.kill()


def test_the_block_ends_what_it_left() -> None:
    with reaping() as mark:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | dict(mark))
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="finds its environment as Linux tells it")
@pytest.mark.parametrize(
    "left",
    [
        600,  # its parent lives, and has the mark
        3,  # its parent is gone, and was there long enough to be seen
    ],
)
def test_a_process_that_hides_its_mark_ends_too(left: float) -> None:
    command = [sys.executable, "-c", DISGUISED, str(left)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout
        hidden = psutil.Process(int(process.stdout.readline()))
        assert MARK not in hidden.environ()
        if left < 600:
            wait_until(lambda: hidden.ppid() in (1, process.pid) or not alive([psutil.Process(hidden.ppid())]))
        process.kill()
        wait_until(lambda: not alive([hidden]))


def test_a_number_that_is_used_again_is_another_process() -> None:
    """What has the pid of one that was known, and another start, is not touched."""
    family = Family("no such mark")
    sleep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    known = psutil.Process(sleep.pid)
    known._create_time = (known._create_time or known.create_time()) - 1
    known._ident = (known.pid, known._ident[1] - 1)
    family._known.add(known)
    family.end()
    assert alive([psutil.Process(sleep.pid)])
    sleep.kill()
    sleep.wait()


def test_a_folder_goes_once_nothing_writes_there(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "below").mkdir(parents=True)
    with reaping(folder) as mark:
        command = ["sh", "-c", "while :; do date > $0/below/date; done", str(folder)]
        process = subprocess.Popen(command, env=os.environ | dict(mark), stderr=subprocess.DEVNULL)
        wait_until((folder / "below" / "date").exists)
    assert process.wait(10) == -signal.SIGKILL
    assert not folder.exists()
