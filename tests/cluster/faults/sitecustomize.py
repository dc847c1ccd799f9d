"""A test device: on PYTHONPATH it makes chosen trials go wrong for real, in the worker's process, at a chosen step.

``FAULTS`` is a JSON list of ``{"method", "n", "seed", "step", "do", "times"}``: what is left out fits all. With
``"step": "outcomes"`` it happens as the outcomes of a trial that ended are filled in. ``times`` counts over all
processes, by files in ``FAULTS_FOLDER``. There, too, a line in ``epochs`` for each epoch that is begun says of which
trial it is, its first step, that after its last, and in which process; one in ``filled`` whose outcomes were filled in
by which process; one in ``refused`` which process was not let write any more.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGET = "anytime_core.training.trainer"


def bug() -> None:
    raise ZeroDivisionError(f"injected in process {os.getpid()}")


def memory() -> None:
    import numpy as np

    np.ones(2**60, np.uint8)


def storage() -> None:
    Path("/proc/self/mem").read_bytes()  # reading address 0: EIO


def loop() -> None:
    print("loops for ever")
    while True:
        pass


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rest() -> None:
    """For longer than a trial goes without a beat."""
    time.sleep(2.5)


def wait() -> None:
    """Until there is a file ``go``, or one for this process; then says that it went on."""
    while not ((_folder() / "go").exists() or (_folder() / f"go-{os.getpid()}").exists()):
        time.sleep(0.05)
    (_folder() / f"went-{os.getpid()}").touch()


DO: dict[str, Callable[[], None]] = {f.__name__: f for f in (bug, memory, storage, loop, stop, die, rest, wait)}


def _folder() -> Path:
    return Path(os.environ["FAULTS_FOLDER"])


def _note(name: str, config: Any, *numbers: int) -> None:
    from orchestrator.sweep.trial import trial_id

    with open(_folder() / name, "a") as file:
        file.write(" ".join(map(str, (trial_id(config), *numbers, os.getpid()))) + "\n")


def _method(config: Any) -> str:
    return getattr(getattr(config.regime, "strategy", None), "name", config.regime.name)


def _fits(fault: dict[str, Any], config: Any) -> bool:
    found = {"method": _method(config), "n": config.network.n, "seed": config.seed}
    return all(fault.get(name, value) == value for name, value in found.items())


def _claimed(number: int, fault: dict[str, Any]) -> bool:
    """Whether the fault happens once more."""
    for count in range(fault.get("times", 10**6)):
        try:
            (_folder() / f"{number}-{count}").touch(exist_ok=False)
            return True
        except FileExistsError:
            continue
    return False


def _patch(module: Any) -> None:
    steps_of = module.Run._train_steps

    def faulty(self: Any, on_step: Callable[[], None]) -> Any:
        first = self.steps_done
        done = itertools.count(first + 1)
        _note("epochs", self.config, first, first + self.steps_ahead)

        def stepped() -> None:
            on_step()
            _go_wrong(self.config, next(done))

        return steps_of(self, stepped)

    module.Run._train_steps = faulty
    _patch_outcomes(module)
    _note_refusals()


def _go_wrong(config: Any, step: int | str) -> None:
    for number, fault in enumerate(json.loads(os.environ["FAULTS"])):
        if _fits(fault, config) and step == fault["step"] and _claimed(number, fault):
            DO[fault["do"]]()


def _patch_outcomes(module: Any) -> None:
    outcomes_of = module.outcomes_of

    def faulty(config: Any, *rest: Any, **more: Any) -> Any:
        _go_wrong(config, "outcomes")
        _note("filled", config)
        return outcomes_of(config, *rest, **more)

    module.outcomes_of = faulty


def _note_refusals() -> None:
    """A line for each write that an attempt was refused, since another has begun."""
    from orchestrator.ledger.ledger import SupersededError

    init = SupersededError.__init__

    def noted(self: Any, *words: Any) -> None:
        init(self, *words)
        with open(_folder() / "refused", "a") as file:
            file.write(f"{os.getpid()} {self}\n")

    SupersededError.__init__ = noted  # type: ignore[method-assign]


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                _patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "FAULTS" in os.environ:
    sys.meta_path.insert(0, _Finder())
