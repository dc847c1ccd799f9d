"""Runs `orchestrate` many times without importing each time what takes it seconds to import.

A process that has imported all of it forks for each command. What is a user's in a command is its own: its arguments,
folder, environment, standard streams, and its end. What Python reads as it starts, such as the encoding of the streams,
is the same for all commands of a `Program`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIGHT = ("numpy", "pydantic", "orchestrator.report.views.render", "orchestrator.sweepfile.load")
MLFLOW = (*LIGHT, "mlflow.store.tracking.sqlalchemy_store", "orchestrator.tracking.ui")
TORCH = (*LIGHT, "torch")
SECONDS = 60.0
"""More than any one command takes here, imports included."""


@dataclass(frozen=True)
class Done:
    code: int
    out: bytes
    err: bytes


class Program:
    """Forks for each command, in an environment that Python starts in, once ``modules`` are imported."""

    def __init__(self, environment: Mapping[str, str], modules: tuple[str, ...] = LIGHT) -> None:
        self._at_start = of_python(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, *modules],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, arguments: list[str], folder: Path, environment: Mapping[str, str]) -> Done:
        assert self._process.stdin
        assert self._process.stdout
        assert of_python(environment) == self._at_start
        with TemporaryDirectory() as streams:
            out, err = Path(streams, "out"), Path(streams, "err")
            command = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
            self._process.stdin.write(json.dumps(command | {"streams": [os.devnull, str(out), str(err)]}) + "\n")
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], SECONDS)[0]:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, SECONDS)
            return Done(int(self._process.stdout.readline()), out.read_bytes(), err.read_bytes())

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """What Python reads of it as it starts."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LANG", "LC_"))}


def serve(modules: list[str]) -> bool:
    """Answers a line that is a command by its exit code. Returns whether this is the process of a command."""
    from orchestrator.system import environment

    environment.prepare_torch()
    environment.prepare_mlflow()
    for name in modules:
        import_module(name)
    gc.freeze()  # or each process would look through all of it at its end
    commands, answers = (os.fdopen(os.dup(stream), mode) for stream, mode in ((0, "r"), (1, "w")))
    for line in commands:
        if (process := os.fork()) == 0:
            become(**json.loads(line))
            return True
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        answers.flush()
    return False


def become(arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]) -> None:
    """What a shell does before it runs a command."""
    for number, path in enumerate(streams):
        stream = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["orchestrate", *arguments]


def _main() -> Any:
    from orchestrator.cli import main

    return main() if serve(sys.argv[1:]) else 0


if __name__ == "__main__":
    sys.exit(_main())
