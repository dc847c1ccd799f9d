"""Measures what it brings to train several trials at once on one device, and whether their bits stay the same.

::

    python benchmarks/packing.py                              # 1 and 2 at once, (1,8): a CPU, each on one thread
    python benchmarks/packing.py --network 7,16 -k 1 -k 2 -k 4 -k 6     # on CUDA
    python benchmarks/packing.py --network 7,16 --mps         # with a server of NVIDIA's MPS of its own

Each trial is a process, with a seed of its own. All have made their first steps, compiling and capturing included,
before a clock starts. ``throughput`` is the seconds that as many trials take one after the other, by a solo run in the
same turn, over those that they take at once; above 1, packing pays. Bits are those of all parameters at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

import harness
from harness import Found, Row

WARM = 3
"""Steps before the clock."""


def work(options: argparse.Namespace) -> None:
    """One trial, in a process of its own: says when it is ready, waits for a line, and says what it did."""
    from ours import OurLoop, bits_of

    n, c = options.network
    config = harness.trial(
        n,
        c,
        data=options.data,
        batch=options.batch,
        precision=harness.usual_precision(options.device),
        seed=options.work,
    )
    images = harness.random_images(options.data, max(options.images, options.batch), 500)
    loop = OurLoop(config, images, options.device)
    loop.steps(WARM)
    harness.synchronise(options.device)
    print("ready", flush=True)
    if not sys.stdin.readline():  # another could not begin
        return
    harness.seconds_of(lambda: loop.steps(options.steps), options.device)
    print("done", flush=True)
    print(bits_of(loop.run.network), flush=True)


def at_once(seeds: range, options: argparse.Namespace, environment: dict[str, str]) -> tuple[float, dict[int, str]]:
    """Seconds from the start of all to the end of the last, and the bits of each seed."""
    running: list[Any] = [_started(seed, options, environment) for seed in seeds]
    try:
        for process in running:
            _line(process)
        began = perf_counter()
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            _line(process)
        seconds = perf_counter() - began
        bits = [_line(process).strip() for process in running]
    finally:
        for process in running:
            _end(process)
    return seconds, dict(zip(seeds, bits, strict=True))


def _started(seed: int, options: argparse.Namespace, environment: dict[str, str]) -> subprocess.Popen[str]:
    n, c = options.network
    named = {"network": f"{n},{c}", "device": options.device, "data": options.data, "images": options.images}
    named |= {"batch": options.batch, "steps": options.steps, "threads": options.threads, "work": seed}
    command = [sys.executable, "-W", "ignore", __file__]
    for name, value in named.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _line(process: Any) -> str:
    line: str = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a trial ended with code {process.wait()}; what it said is above")
    return line


def _end(process: Any) -> None:
    process.stdin.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


# NVIDIA's Multi-Process Service


@contextmanager
def mps(wanted: bool) -> Iterator[tuple[dict[str, str], str]]:
    """The environment of trials, and in a line whether MPS serves them. A server that is started here ends here."""
    environment = dict(os.environ)
    control = shutil.which("nvidia-cuda-mps-control")
    if not wanted or control is None:
        absent = "; nvidia-cuda-mps-control is not on this machine" if wanted else ""
        yield environment, f"MPS: {'serves' if _running(environment) else 'does not run'}{absent}"
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        environment |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        if fault := _begun(control, environment):
            yield dict(os.environ), f"MPS: did not start: {fault}"
            return
        try:
            yield environment, "MPS: serves, started for this run"
        finally:
            quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
            with suppress(subprocess.TimeoutExpired):
                subprocess.run([control], input="quit\n", text=True, env=environment, timeout=60, **quiet)


def _begun(control: str, environment: dict[str, str]) -> str | None:
    """Starts the server; what went wrong, if anything. It lives on, so nothing may wait for the end of what it says:
    that goes to a file."""
    with tempfile.TemporaryFile("w+") as said:
        try:
            code = subprocess.run([control, "-d"], env=environment, stdout=said, stderr=said, timeout=30).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        said.seek(0)
        return (said.read().strip()[:200] or f"exit code {code}") if code else None


def _running(environment: dict[str, str]) -> bool:
    """Whether there is the pipe of a control daemon."""
    return (Path(environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control").exists()


# The whole


def row_of(count: int, options: argparse.Namespace, environment: dict[str, str], solo: dict[int, str]) -> Row:
    packed, one_by_one, same = [], [], True
    for turn in range(options.repeats):
        harness.say(f"{count} at once, turn {turn + 1} of {options.repeats}")
        alone, bits = at_once(range(1), options, environment)
        solo |= bits
        seconds, all_bits = at_once(range(count), options, environment)
        for seed in set(all_bits) - set(solo):
            solo |= at_once(range(seed, seed + 1), options, environment)[1]
        one_by_one.append(count * alone)
        packed.append(seconds)
        same = same and all(solo[seed] == found for seed, found in all_bits.items())
    row: Row = {"at_once": count} | harness.spread([s / options.steps for s in packed], "ms_a_step_of_all", 1e3)
    row |= harness.spread(harness.ratios(one_by_one, packed), "throughput")
    return row | {"bits_as_alone": same}


def benchmark(options: argparse.Namespace) -> Found:
    solo: dict[int, str] = {}
    with mps(options.mps) as (environment, told):
        rows = [row_of(count, options, environment, solo) for count in options.count or [1, 2]]
    n, c = options.network
    notes = [
        told,
        f"({n},{c}), batch {options.batch}, random bytes; each {options.steps} steps"
        + ("" if options.device.type == "cuda" else f" on {options.threads} thread(s)"),
        f"n = {options.repeats} turns, a solo run before each: the median, and least to most",
    ]
    faults = [f"{row['at_once']} at once: other bits than alone" for row in rows if not row["bits_as_alone"]]
    return {"rows": rows, "notes": notes, "faults": faults, "on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", repeats=3, steps=1000 if torch.cuda.is_available() else 5)
    parser.add_argument("--network", type=harness.size, default=(1, 8), metavar="N,C", help="default: 1,8")
    parser.add_argument(
        "-k", "--count", type=harness.positive, action="append", help="again for more; default: 1 and 2"
    )
    parser.add_argument("--mps", action="store_true", help="start NVIDIA's MPS for this run, and end it after")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = options().parse_args()
    if given.work is None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a server of MPS ends, too
        harness.main(benchmark, options())
        return
    torch.set_num_threads(given.threads)
    work(given)


if __name__ == "__main__":
    main()
