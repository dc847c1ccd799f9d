"""Whether what an extension registers can be trained, resumed and sent to workers: found out in seconds, on noise of
the digits' shape, before a sweep finds it out in hours.

Shapes: N images, L predictions, K classes.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anytime_core import extend
from anytime_core.building import counted_costs
from anytime_core.config import (
    KINDS,
    DataConfig,
    Joint,
    NetworkConfig,
    Part,
    TrainingConfig,
    TrialConfig,
    part_of,
    plain,
)
from anytime_core.cost import trial_costs
from anytime_core.data.dataset import Images
from anytime_core.data.own import by_code, reading
from anytime_core.data.own.source import Source
from anytime_core.errors import TrainerError
from anytime_core.model import traced
from anytime_core.model.own import OwnModule
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.selection import Selection
from anytime_core.training.trainer import Run, build_run, reproducible
from orchestrator.errors import UsageError
from orchestrator.extensions import finding, importing
from orchestrator.extensions.additions import ADDED, WIN_TEST
from orchestrator.extensions.finding import Extension
from orchestrator.extensions.importing import located
from orchestrator.text import counted, first_line

PREDICTIONS, IMAGES_A_BATCH, CLASSES = 6, 32, 10
IMAGE, IMAGE_SHAPE = (CLASSES, 1, 8), (1, 8, 8)
"""Of the digits: classes, channels and pixels of a side; and the shape of one."""
TIMED_EPOCHS = 12
WORKER_SECONDS = 120.0
HOST = "make tensors as those that are given are: torch.zeros_like(base), state[...] * 2"
WAITS = "keep numbers in tensors: torch.where in place of if; no item(), tolist() or numpy(); no mask as an index"
SECRET = "keep what is remembered in the state, and take random numbers from the draws that are given"


class Finding(Exception):  # noqa: N818  it is what a check finds, not what went wrong with it
    """What is wrong, and what to change."""

    def __init__(self, fault: str, mend: str) -> None:
        super().__init__(fault)
        self.fault, self.mend = fault, mend


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """On one thing that an extension registers: which checks it passed, and what was found in the others."""

    name: str
    kind: str
    passed: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


Check = Callable[[Part], str]
"""Says what is well in some words, none where the check is not for this kind. Raises Finding."""


def check_file(path: Path, given: Mapping[str, str] | None = None, data: Path | None = None) -> list[Verdict]:
    """Checks all that a file registers; it runs its code. ``given`` are values of fields, as a sweep file would give
    them, and ``data`` is for its readers to read. Raises UsageError for a file that cannot be imported, or registers
    nothing."""
    extension = finding.find(str(path.absolute()), Path())
    importing.activate([extension])
    parts = [(kind, name, part) for kind, named in KINDS.items() for name, part in named.items()]
    if not parts and not any(ADDED.values()):
        bases = ", ".join(base.__name__ for base in extend.BASES.values())
        raise UsageError(f"{path}: registers nothing; it needs @register over a class below one of {bases}")
    with reproducible(1):
        verdicts = [_checked(extension, kind, name, part, given or {}, data) for kind, name, part in parts]
    return [*verdicts, *_additions()]


def _checked(
    extension: Extension, kind: str, name: str, part: type[Part], given: Mapping[str, str], data: Path | None
) -> Verdict:
    passed: list[str] = []
    findings: list[Finding] = []
    try:
        made = _made(part, given)
        travels = partial(_travels, extension)
        reads = isinstance(made, extend.Reader)
        first: Check = partial(_reads, data) if reads else _trains
        others: tuple[Check, ...] = (travels,) if reads else (*CHECKS, travels, _costs, _exports)
        passed += [_round_trip(made), _tried(first, made)]
        for check in others:
            try:
                passed += filter(None, [_tried(check, made)])
            except Finding as found:
                findings.append(found)
    except Finding as found:
        findings.append(found)
    return Verdict(name=name, kind=kind, passed=tuple(passed), findings=tuple(findings))


def _tried(check: Check, part: Part) -> str:
    try:
        return check(part)
    except Finding:
        raise
    except Exception as error:  # an extension may raise anything
        said = str(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {error}"
        base = extend.BASES[part.kind].__name__
        mend = f"write its functions as those of anytime_core.extend.{base}, which say what they are given"
        raise Finding(f"{located(error)}{said}", mend) from error


def _made(part: type[Part], given: Mapping[str, str]) -> Part:
    own = {field.name: field for field in fields(part)}  # type: ignore[arg-type]
    values = {name: _value(text) for name, text in given.items() if name in own}
    absent = [
        name
        for name, field in own.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if absent:
        options = " ".join(f"--field {name}=VALUE" for name in absent)
        raise Finding(f"needs values for {', '.join(absent)}", f"give them defaults, or check it with {options}")
    try:
        return TypeAdapter(part).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Finding(f"{place}: {first['msg']}", "give it another value or default") from error
    except Exception as error:  # pydantic says of a type that it cannot read what it likes
        raise Finding(f"cannot be read: {error}", "annotate fields as numbers, text, booleans or tuples") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _config(part: Part, *, units: int = PREDICTIONS // 3, channels: int = 2, steps: int = 7) -> TrialConfig:
    """Six predictions, three batches an epoch."""
    own = part if isinstance(part, extend.Network) else None
    joint: dict[str, Any] = {} if own else {part.kind: part}
    return TrialConfig(
        network=own or NetworkConfig(n=units, c=channels),
        data=DataConfig(name="digits", pad=1),
        regime=part if isinstance(part, extend.Regime) else Joint(**joint),
        training=TrainingConfig(steps=steps, batch_size=IMAGES_A_BATCH, learning_rate={0: 0.05}),
    )


def _images(count: int = 3 * IMAGES_A_BATCH) -> Images:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(17, size=(2, count, 1, 8, 8), dtype=np.uint8), rng.integers(CLASSES, size=(2, count))
    return Images(train_images=pixels[0], train_labels=labels[0], test_images=pixels[1], test_labels=labels[1])


# The checks


def _round_trip(part: Part) -> str:
    try:
        same = part_of(part.kind, plain(part)) == part and hash(part) == hash(part)
    except (TypeError, ValueError) as error:
        raise Finding(f"its config cannot be kept: {error}", "use numbers, text, booleans or tuples of them") from error
    if not same:
        raise Finding("its config is another once it was kept", "use numbers, text, booleans or tuples of them")
    return "config round trip"


def _trains(part: Part) -> str:
    """One step and all epochs: losses, gradients and parameters are numbers."""
    run = _begun(part)
    run.begin_epoch()
    run.step()
    gradients = [parameter.grad for parameter in run.network.parameters() if parameter.grad is not None]
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise Finding("gradients are not finite", "keep log, sqrt and division away from 0, as clamp_min(1e-8) does")
    if _trained(part).diverged:
        raise Finding("losses are not finite", "keep weights and losses of the size of the plain ones")
    return "finite"


def _reads(data: Path | None, part: Part) -> str:
    """Twice the same, where there is something to read."""
    if data is None:
        return "to have it read something, give --data PATH"
    source = Source(name="data", path=data.absolute(), format=part.name, reader=json.dumps(plain(part)))
    once, again = (reading.read(source, by_code.form_of(source)).described for _ in range(2))
    if once != again:
        raise Finding("reads other images each time", "read what lies at the path, and nothing random")
    return f"reads {once.train_images} training and {once.test_images} test images of {len(once.class_names)} classes"


def _begun(part: Part) -> Run:
    return build_run(_config(part), _images(), "cpu")


def _trained(part: Part) -> Run:
    run = _begun(part)
    while not run.ended:
        run.epoch()
    return run


def _waits(part: Part) -> str:
    """On a device without content, on which nothing can be read, and with nothing of the host."""
    where = torch.device("meta")
    if isinstance(part, extend.Network):
        network, images = (
            OwnModule(part, *IMAGE).to(where).train(),
            torch.empty(IMAGES_A_BATCH, *IMAGE_SHAPE, device=where),
        )
        return _unread(lambda: network(images).sum().backward())
    logits = torch.empty(PREDICTIONS, IMAGES_A_BATCH, CLASSES, device=where, requires_grad=True)
    labels, draw = torch.empty(IMAGES_A_BATCH, dtype=torch.int64, device=where), torch.empty(1, device=where)
    noise = torch.empty(PREDICTIONS, device=where)
    strategy = part if isinstance(part, extend.Strategy) else None
    objective = part if isinstance(part, extend.Objective) else None
    answers = part if isinstance(part, extend.Answers) else None
    training = TrainingObjective(PREDICTIONS, where, objective, answers)
    base = torch.empty(PREDICTIONS, device=where)
    selection = Selection(strategy, base, [1, 2, 4, 5]) if strategy else None

    def step() -> None:
        losses, differentiated = training(logits, labels)
        weights = selection.choose(draw, noise if selection.rule.noise else None) if selection else base
        torch.autograd.backward(differentiated, weights)
        training.learn(logits.detach(), labels)
        training.answers(logits.detach())
        if selection:
            selection.learn(losses.detach())

    return _unread(step)


def _unread(work: Callable[[], None]) -> str:
    try:
        with _NotOfTheHost():  # type: ignore[no-untyped-call]
            work()
    except _HostError as error:
        raise Finding(f"{located(error)}uses a tensor of the host", HOST) from error
    except Exception as error:  # torch has many ways to say that there is nothing to read
        raise Finding(f"{located(error)}waits for the device ({first_line(error)})", WAITS) from error
    return "no wait for the device"


class _HostError(Exception):
    pass


class _NotOfTheHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every tensor that takes part in anything is on the device ``meta``."""

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = call(*args, **(kwargs or {}))
        where = {one.device.type for one in tree_leaves((args, kwargs, result)) if isinstance(one, Tensor)}
        if where - {"meta"}:
            raise _HostError
        return result


def _same_bits(part: Part) -> str:
    """Twice, and from a checkpoint after each epoch, each time by a new run."""
    whole = _bits(_trained(part))
    if _bits(_trained(part)) != whole:
        raise Finding("gives other bits each time", SECRET)
    with TemporaryDirectory() as folder:
        run = _begun(part)
        while not run.ended:
            run.epoch()
            run.save(Path(folder))
            run = _begun(part)
            run.restore(Path(folder))
    if _bits(run) != whole:
        raise Finding("gives other bits once it was interrupted", SECRET)
    return "same bits twice, resume gives the same bits"


def _bits(run: Run) -> dict[str, bytes]:
    state = {**run.network.state_dict(), **run.selection.state, **run.objective.state}
    errors = np.array([(*epoch.train_loss, *epoch.test_error) for epoch in run.history])
    return {"errors": errors.tobytes(), **{name: tensor.numpy().tobytes() for name, tensor in state.items()}}


def _causal(part: Part) -> str:
    if not isinstance(part, extend.Answers):
        return ""
    logits = torch.randn(PREDICTIONS, IMAGES_A_BATCH, CLASSES, generator=torch.Generator().manual_seed(0))
    whole = part.answers(logits)
    for count in range(1, PREDICTIONS):
        if not torch.allclose(part.answers(logits[:count]), whole[:count], rtol=1e-5, atol=1e-6):
            mend = "answer i must come from the first i predictions alone"
            raise Finding(f"answer {count} depends on later predictions", mend)
    return "causal; not exportable, as it is code"


def _costs(part: Part) -> str:
    """The time of a step, as a multiple of that of a plain one: of steps taken in turns."""
    if isinstance(part, extend.Network):
        return _multiply_adds(part)
    shape: dict[str, Any] = {"units": 2, "channels": 8, "steps": 3 * TIMED_EPOCHS}
    config = _config(part, **shape)
    runs = [build_run(one, _images(), "cpu") for one in (config, replace(config, regime=Joint()))]
    seconds: list[list[float]] = [[], []]
    for _ in range(TIMED_EPOCHS):
        for run, taken in zip(runs, seconds, strict=True):
            run.begin_epoch()
            while run.steps_ahead:
                began = time.perf_counter()
                run.step()
                taken.append(time.perf_counter() - began)
    own, other = map(median, seconds)
    return f"{own / other:.2f} of a plain step"


def _exports(part: Part) -> str:
    """Not to be exportable is no fault."""
    if not isinstance(part, extend.Network):
        return ""
    if not isinstance(part, extend.StagedNetwork):
        return "not exportable, as only a StagedNetwork is"
    network = OwnModule(part, *IMAGE).eval()
    try:
        stages = list(traced.stage_files(network, lambda pixels: pixels, 8))
    except ImportError as error:
        return f"export was not tried ({first_line(error)}); to install what it needs: pip install -e '.[export]'"
    except traced.UntraceableError as error:
        return f"not exportable: {first_line(error)}"
    return f"exports as {counted(len(stages), 'stage')}"


def _multiply_adds(part: extend.Network) -> str:
    """Those that it gives are at least those that torch counts, which knows not every layer."""
    given, by_torch = trial_costs(_config(part)), counted_costs(part, *IMAGE)
    words = ", ".join(map(str, given))
    if any(own < other for own, other in zip(given, by_torch, strict=True)):
        raise Finding(
            f"costs are {words} multiply-adds, and torch counts {', '.join(map(str, by_torch))} on the digits",
            "count each product of a convolution or a linear layer, or give no costs: then they are counted",
        )
    more = "" if given == by_torch else f" (torch counts {', '.join(map(str, by_torch))})"
    return f"multiply-adds {words} on the digits{more}"


CHECKS: tuple[Check, ...] = (_waits, _same_bits, _causal)
"""Of what trains at all."""


# On a worker


def _travels(extension: Extension, part: Part) -> str:
    """In a process of its own, in an empty folder, as on another node."""
    try:
        sent = pickle.dumps(([extension], pickle.dumps(part)))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise Finding(f"cannot be pickled: {error}", "define it at the top of the module") from error
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from orchestrator.extensions import received; received.answer()"],
            input=sent,
            capture_output=True,
            cwd=folder,
            timeout=WORKER_SECONDS,
            check=False,
        )
    if done.returncode or json.loads(done.stdout) != plain(part):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it arrives as something else"]
        raise Finding(f"is not the same on a worker: {said[-1]}", "define it at the top of the module")
    return "pickles to a worker"


# Additions to reports


def _additions() -> Iterator[Verdict]:
    for kind, named in ADDED.items():
        for name, added in named.items():
            passed = ("shown by reports of sweeps that name it",)
            try:
                passed = (_p_values(added.function),) if kind == WIN_TEST else passed
            except Finding as found:
                yield Verdict(name=name, kind=kind, passed=(), findings=(found,))
            else:
                yield Verdict(name=name, kind=kind, passed=passed)


DIFFERENCES: tuple[Sequence[float], ...] = ((-1.0,), (1.0,), (0.0, 0.0, 0.0), (-2.0, -1.0, 0.5, -0.1), (0.5,) * 8)


def _p_values(test: Callable[..., Any]) -> str:
    for differences in DIFFERENCES:
        try:
            p = float(test(np.array(differences)))
        except Exception as error:  # whatever the extension raises
            fault = f"{located(error)}{type(error).__name__}: {error}"
            raise Finding(fault, "it is given one difference or more, and gives a number") from error
        if not 0 <= p <= 1 or math.isnan(p):
            raise Finding(f"gives {p} for {list(differences)}", "a p-value is from 0 to 1")
    return "p-values from 0 to 1"
