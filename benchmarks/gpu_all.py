"""Checks and measures all of training on this machine, in one call: first that the numbers are right, then how fast.

::

    PYTHONPATH=. python benchmarks/gpu_all.py --output FOLDER                       # CUDA: under 25 minutes
    PYTHONPATH=. python benchmarks/gpu_all.py --output FOLDER --images-from IMAGES  # with CIFAR-10 made from there
    PYTHONPATH=. python benchmarks/gpu_all.py --output FOLDER --minutes 9           # CUDA: what matters most
    PYTHONPATH=. python benchmarks/gpu_all.py --output FOLDER --only learning --minutes 4      # after that
    PYTHONPATH=. python benchmarks/gpu_all.py --output FOLDER --device cpu          # all of it, small: 3 minutes

Needs torch and numpy alone, no installation; what else is missing is named where it is left out. Each part is a process
of its own, so none can spoil another: one that fails or takes too long is reported, and the rest goes on. FOLDER gets
`measurements.md`, a section for docs/measurements.md, `results.json`, each part's log, and checkpoints; each part's
table is printed as it ends, and what was cut off is named as not measured. A part that is
there already, without a fault, is not done again, so the same command goes on with what is left. Exit code 1 if any
part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import harness

HERE = Path(__file__).parent
LEARNING = 1 / 6
"""Of the time, kept for the last part at most."""
BRIEF = 15.0
"""Minutes below which only what matters most is measured."""


@dataclass(frozen=True, slots=True)
class Part:
    """A script with its options; ``minutes`` is what it may take at most."""

    name: str
    title: str
    command: tuple[str, ...]
    minutes: float


def on_cuda(options: argparse.Namespace) -> list[Part]:
    """The sizes of issue and targets. What is not done in time is given up, so the most important come first: targets
    before what has none, and MPS, with which packing should pay, before time slicing."""
    minutes = options.minutes
    sizes, packed = ["7,16", "9,32", "9,128"], "--network 7,16 -k 1 -k 2 -k 4 -k 6 --repeats 2"
    near, hours = "limits.py --network 7,16 --network 9,64 --network 9,128", f"grid.py --minutes {minutes / 12:.2f}"
    return [
        _part("parity", "The numbers are right", "parity.py --network 7,16", 6),
        _part("limits", "Steps beside the floor", near, 2),
        *(_beside(size, "", "ours-eager ours-fastest a c", 3) for size in sizes),
        _part("kernels", "The parts of a step", "kernels.py --network 7,16 --compile", 3),
        _part("grid", "Hours of Table 6", hours, minutes / 12 + 1),
        # What is compiled first serves what comes after: torch keeps it on the disk.
        *(_beside(size, ", compiled", "ours-compiled a b1", 4) for size in sizes),
        _part("grid-compiled", "Hours of Table 6, units compiled", f"{hours} --compiled", minutes / 12 + 2),
        _part("packing-mps", "Several trials at once, with NVIDIA's MPS", f"packing.py {packed} --mps", 6),
        _part("limits-compiled", "Steps beside the floor, units compiled", f"{near} --compiled", 3),
        _part("parity-compiled", "Compiled units are right", "parity.py --network 7,16 --compiled", 4),
        _part("packing", "Several trials at once, by time slices", f"packing.py {packed}", 6),
        *(_beside(size, ", reduce-overhead", "b2", 4) for size in sizes),
        _learning(options.output, minutes / 3 if options.data_root else 2, "--network 7,16"),
    ]


def briefly_on_cuda(options: argparse.Namespace) -> list[Part]:
    """What a machine lent for minutes must answer, one question after the other. Learning is a call of its own."""
    minute = options.minutes / 9
    near = "limits.py --network 7,16 --network 9,32 --network 9,128 --repeats 3"
    hours = f"grid.py --minutes {0.6 * minute:.2f}"
    return [
        _part("parity", "The numbers are right: graph and eager", "parity.py --network 7,16 --graph", 1.2 * minute),
        _part("grid", "Hours of Table 6", hours, 1.2 * minute),
        _part("grid-compiled", "Hours of Table 6, units compiled", f"{hours} --compiled", 2 * minute),
        _part("limits", "Steps beside the floor", near, minute),
        *(
            _beside(size, ", deterministic and free cuDNN", "ours-fastest a --repeats 3", minute)
            for size in ("7,16", "9,32", "9,128")
        ),
        _part(
            "packing-mps",
            "Several trials at once, with NVIDIA's MPS",
            "packing.py --network 7,16 -k 1 -k 3 --repeats 1 --mps",
            2 * minute,
        ),
        *([_learning(options.output, options.minutes, "--network 7,16")] if "learning" in (options.only or ()) else []),
    ]


def on_cpu(options: argparse.Namespace) -> list[Part]:
    small = "--images 64 --batch 16"
    return [
        _part("parity", "The numbers are right", "parity.py", 4),
        _part("limits", "Steps beside the floor", f"limits.py --network 1,8 {small} --repeats 3", 2),
        _part("trainer-1,8", "Beside the usual loops, (1,8)", f"trainer.py --network 1,8 {small} --repeats 3", 2),
        _part("kernels", "The parts of a step", f"kernels.py --network 1,4 {small} --repeats 3 --steps 1", 3),
        _part("packing", "Several trials at once", f"packing.py --network 1,4 {small} -k 1 -k 2 --repeats 2", 3),
        _part("grid", "Hours of Table 6", "grid.py --batch 2 --images 16 --minutes 0.2 --repeats 2", 2),
        _learning(options.output, 3, f"--network 1,4 {small} --steps 8"),
    ]


def _part(name: str, title: str, command: str, minutes: float) -> Part:
    return Part(name, title, tuple(command.split()), minutes)


def _beside(size: str, which: str, variants: str, minutes: float) -> Part:
    """Those that compile are parts of their own, as they may take too long."""
    title, command = f"Beside the usual loops{which}, ({size})", f"trainer.py --network {size}"
    return _part(f"trainer-{size}{which.replace(', ', '-')}", title, f"{command} --variants {variants}", minutes)


def _learning(output: Path, minutes: float, rest: str) -> Part:
    """It stops by itself in time, after whole epochs."""
    command = ("learning.py", "--folder", str(output / "checkpoints"), *rest.split())
    return Part("learning", "Does it learn what the paper learned?", command, minutes)


# One part


def done(part: Part, left: float, options: argparse.Namespace, log: Path) -> dict[str, Any]:
    """Runs a part for at most ``left`` seconds. ``found`` is what it gave, ``fault`` what went wrong, if anything."""
    limit = max(min(60 * part.minutes, left), 1)
    command = [sys.executable, "-W", "ignore", str(HERE / part.command[0]), *part.command[1:]]
    if part.name == "learning":
        command += ["--minutes", f"{max(limit / 60 - 1.5, 0):.2f}"]
    command += ["--device", str(options.device), "--format", "json"]
    if options.data_root is not None and part.name not in ("parity", "packing", "grid"):
        command += ["--data-root", str(options.data_root)]
    began = time.monotonic()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    }
    with log.open("w") as told:
        code, output = _output(command, environment, told, limit)
    found = _parsed(output)
    seconds = time.monotonic() - began
    return {"found": found, "fault": _fault(code, found, limit, log), "seconds": round(seconds, 1)}


def _output(command: list[str], environment: dict[str, str], log: Any, limit: float) -> tuple[int | None, str]:
    """The exit code, None where it was too slow, and what it printed. Its own processes end with it."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
    )
    try:
        output = process.communicate(timeout=limit)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            _ended(process)


def _ended(process: subprocess.Popen[str]) -> None:
    """Asked first, as it may have to end a server."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _parsed(output: str) -> Any:
    """What it printed last; a library may have printed something before."""
    try:
        return json.loads(output[max(output.find("{\n"), 0) :])
    except ValueError:
        return None


def _fault(code: int | None, found: Any, limit: float, log: Path) -> str | None:
    if found is None:
        said = log.read_text().strip().splitlines()
        last = said[-1][:300] if said else "it said nothing"
        return f"not done after {limit:.0f} s: {last}" if code is None else f"exit code {code}: {last}"
    return "; ".join(found["faults"]) or None


# Targets


@dataclass(frozen=True, slots=True)
class Target:
    """``least`` or ``most`` is what the best figure may be, of all parts whose names begin with ``part``, as units are
    compiled where that is faster."""

    name: str
    part: str
    of: dict[str, str]
    columns: tuple[str, ...]
    least: float | None = None
    most: float | None = None

    def found(self, results: dict[str, Any]) -> float | None:
        parts = [result["found"] or {} for name, result in results.items() if name.startswith(self.part)]
        rows = [row for found in parts for row in found.get("rows", [])]
        own = [row for row in rows if all(str(row.get(key, "")).startswith(value) for key, value in self.of.items())]
        figures = [row[column] for row in own for column in self.columns if row.get(column) is not None]
        return (min if self.least is None else max)(figures, default=None)

    def met(self, figure: float) -> bool:
        return figure >= self.least if self.least is not None else figure <= (self.most or 0)

    @property
    def wanted(self) -> str:
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"


def targets() -> Iterator[Target]:
    """The issue's, on an H200."""
    for network, a, b1 in (("7,16", 5, 2.5), ("9,32", 3.5, 2), ("9,128", 2, 0.98)):
        for variant, least in (("(a)", a), ("(b1)", b1)):
            name, part = f"{variant} over ours, ({network})", f"trainer-{network}"
            yield Target(name, part, {"variant": variant}, ("over_ours", "over_ours_compiled"), least)
    yield Target("packed over solo, (7,16)", "packing", {}, ("throughput",), 1.8)
    over, beside = ("step_over_floor",), ("after_over_before",)
    yield Target("step over floor, (9,128)", "limits", {"network": "(9,128)"}, over, most=2.7)
    yield Target("step over floor, (9,64)", "limits", {"network": "(9,64)"}, over, most=3.2)
    yield Target("all heads over the last, (7,16)", "kernels", {"part": "a step, of the last"}, beside, most=1.15)
    for name in ("aann", "milestone", "exp3", "rwm", "avgl"):
        yield Target(f"{name} over ann, (7,16)", "kernels", {"part": f"a step, ann or {name}"}, beside, most=1.03)
    yield Target("hours of Table 6", "grid", {"c": "all"}, ("hours",), most=20)


def target_rows(results: dict[str, Any]) -> list[harness.Row]:
    rows = []
    for target in targets():
        figure = target.found(results)
        row: harness.Row = {"target": target.name, "wanted": target.wanted, "found": figure}
        rows.append(row | {"met": "not measured" if figure is None else target.met(figure)})
    return rows


def judged(results: dict[str, Any]) -> harness.Found:
    notes = ["the targets are for an H200; each figure is the best, with units compiled or not"]
    return {"rows": target_rows(results), "notes": notes, "faults": [], "on": {}}


# The whole


def written(results: dict[str, Any], parts: Sequence[Part], options: argparse.Namespace) -> None:
    (options.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [f"## Training on {harness.device_name(options.device)}", "", f"`{_command(options)}`.", ""]
    if options.device.type == "cuda":
        lines += ["### Targets", "", harness.as_markdown(judged(results)), ""]
    for part in parts:
        lines += _section(part, results.get(part.name))
    (options.output / "measurements.md").write_text("\n".join(lines).rstrip() + "\n")


def _section(part: Part, result: dict[str, Any] | None) -> list[str]:
    lines = [f"### {part.title}", "", f"`benchmarks/{part.command[0]}`"]
    if result is None:
        return [*lines, "", "Not measured: there was no time left.", ""]
    if result["fault"] and not result["found"]:
        lines += ["", f"**Failed:** {result['fault']}"]
    return [*lines, "", *([harness.as_markdown(result["found"])] if result["found"] else []), ""]


def _command(options: argparse.Namespace) -> str:
    return f"python benchmarks/gpu_all.py --output FOLDER --device {options.device} --minutes {options.minutes:g}"


def prepared(options: argparse.Namespace) -> str | None:
    """Makes the data sets from --images-from; what went wrong, if anything."""
    target = options.output / "data"
    if (target / "cifar-10-batches-py").exists():
        options.data_root = target
        return None
    command = [sys.executable, str(options.images_from / "write_true_formats.py"), str(target), "--full"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"--images-from: {error}; random bytes instead"
    if made.returncode:
        return f"--images-from: {made.stderr.strip().splitlines()[-1:]}; random bytes instead"
    options.data_root = target
    return None


def earlier(options: argparse.Namespace) -> dict[str, Any]:
    """What lies in the folder, measured on a device of this name. If there is time, what has a fault is done again, and
    learning goes on."""
    path = options.output / "results.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    name = harness.device_name(options.device)
    return {
        part: result
        for part, result in found.items()
        if result["found"] and result["found"]["on"].get("device") == name
    }


def planned(options: argparse.Namespace) -> list[Part]:
    brief = briefly_on_cuda if options.minutes < BRIEF else on_cuda
    parts = (brief if options.device.type == "cuda" else on_cpu)(options)
    return [part for part in parts if not options.only or part.name.partition("-")[0] in options.only]


def main() -> int:
    options = parsed()
    options.output.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * options.minutes
    faults = []
    if options.images_from and (fault := prepared(options)):
        faults.append(fault)
        harness.say(fault)
    parts = planned(options)
    reserved = 60 * min(sum(part.minutes for part in parts if part.name == "learning"), options.minutes * LEARNING)
    results = earlier(options)
    ended = {name for name, result in results.items() if not result["fault"] and name != "learning"}
    for part in parts:
        left = ends - time.monotonic() - (0 if part.name == "learning" else reserved)
        if part.name in ended or left < 20:
            harness.say(f"{part.name}: {'done before' if part.name in ended else 'no time left'}")
            continue
        harness.say(f"{part.name}: begins, {left / 60:.1f} minutes left")
        result = done(part, left, options, options.output / f"{part.name}.log")
        if result["found"] or part.name not in results:
            results[part.name] = result
        harness.say(f"{part.name}: {result['fault'] or 'done'}, {result['seconds']:.0f} s")
        print("\n".join(_section(part, results.get(part.name))), flush=True)
        written(results, parts, options)
    written(results, parts, options)
    faults += [f"{name}: {result['fault']}" for name, result in results.items() if result["fault"]]
    faults += [f"{part.name}: not measured" for part in parts if part.name not in results]
    if options.device.type == "cuda":  # once more, where a tail of the output has them
        print(harness.as_text(judged(results)))
    print("\n".join(["nothing failed"] if not faults else ["FAILED", *faults]))
    return bool(faults)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for figures, logs and checkpoints")
    parser.add_argument("--minutes", type=float, default=24, help="of all; default: %(default)s")
    parser.add_argument("--device", type=torch.device, default=harness.default_device())
    parser.add_argument("--data-root", type=Path, help="where data sets lie; default: random bytes")
    parser.add_argument(
        "--images-from", type=Path, help="a folder with write_true_formats.py, which makes the data sets"
    )
    names = ["parity", "limits", "trainer", "kernels", "packing", "grid", "learning"]
    parser.add_argument("--only", nargs="+", choices=names, help="these parts alone")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
