"""Measures how near a training step comes to what the device can do at all.

::

    python benchmarks/limits.py                                            # (3,16), on a CPU too
    python benchmarks/limits.py --network 7,16 --network 9,128 --compiled  # on CUDA
    python benchmarks/limits.py --no-steps --flops 790e12 --bandwidth 4.3e12   # the floor alone, and that of Table 6

The floor of a step is the longer of two times: that of its floating-point operations at the rate of a large matrix
product, and that of the bytes it must move at the rate of a large copy. Both rates are measured in the same run. The
operations are those of ``anytime_core.cost``, three times: forward, gradient of the inputs, gradient of the weights.

Bytes: with all of batch norm, ReLU, sums and pooling fused into the convolutions, a unit of PyramidNet's form reads and
writes activations of its own size 20 times (7 forward, 13 backward), a stem its image and output twice, a transition
its input and output 3 times; a parameter costs 26 bytes a step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

import harness
from anytime_core.config import Precision, TrialConfig
from anytime_core.cost import BLOCKS, trial_costs
from anytime_core.data.catalog import DATASETS
from anytime_core.networks.shapes import KERNEL, downsampled
from harness import Found, Row
from ours import OurLoop

TRAINING = 3 * 2
"""Floating-point operations of a step for each multiply-add of the forward pass."""
UNIT_PASSES, STEM_PASSES, TRANSITION_PASSES = 20, 2, 3
PARAMETER_BYTES = 26


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Operations and bytes (read and written) a second; ``convolution`` is the rate of a 3x3 one of 64 channels."""

    flops: float
    bandwidth: float
    convolution: float | None = None


def step_flops(config: TrialConfig) -> int:
    return TRAINING * config.training.batch_size * trial_costs(config)[-1]


def step_bytes(config: TrialConfig, value: int = 2) -> int:
    """With ``value`` bytes an activation: 2 in bfloat16, 4 in float32."""
    network, spec = config.resnet, DATASETS[config.data.name]
    batch, depth = config.training.batch_size, config.predicting_units[-1]
    sides = [spec.size]
    for _ in range(1, BLOCKS):
        sides.append(downsampled(sides[-1]))
    total = 0
    for block, side in enumerate(sides):
        units = min(max(depth - block * network.n, 0), network.n)
        tensor = batch * side * side * (network.c << block) * value
        total += UNIT_PASSES * units * tensor
        if block == 0:
            total += STEM_PASSES * (tensor + batch * side * side * 8 * value)  # an image of 3 channels takes 8
        elif units:
            total += TRANSITION_PASSES * (tensor + batch * sides[block - 1] ** 2 * (network.c << block - 1) * value)
    return total + PARAMETER_BYTES * parameters(config)


def parameters(config: TrialConfig) -> int:
    """How many the network has."""
    network, spec = config.resnet, DATASETS[config.data.name]
    count = KERNEL * spec.channels * network.c
    for unit in range(1, config.predicting_units[-1] + 1):
        block, index = divmod(unit - 1, network.n)
        channels = network.c << block
        count += 2 * KERNEL * channels**2 + 3 * 2 * channels
        count += KERNEL * (channels // 2) * channels if block and not index else 0
        count += (channels + 1) * spec.classes if unit in config.predicting_units else 0
    return count


def floor(config: TrialConfig, ceilings: Ceilings, value: int = 2) -> float:
    """Seconds that a step takes at least."""
    return max(step_flops(config) / ceilings.flops, step_bytes(config, value) / ceilings.bandwidth)


# The ceilings of this device


def measured_ceilings(device: torch.device, repeats: int) -> Ceilings:
    product, copy = product_rate(device, repeats), copy_rate(device, repeats)
    return Ceilings(product, copy, convolution_rate(device, repeats))


def copy_rate(device: torch.device, repeats: int) -> float:
    count = 1 << (30 if device.type == "cuda" else 26)
    source, target = (torch.ones(count, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * count / _seconds(lambda: target.copy_(source), device, repeats)


def product_rate(device: torch.device, repeats: int) -> float:
    size, kind = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    one, other = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: one @ other, device, repeats)


def convolution_rate(device: torch.device, repeats: int) -> float:
    """Forward, of 64 channels at 32x32, as the first block of c = 64 has them."""
    batch, channels, side, kind = 128, 64, 32, torch.bfloat16
    if device.type != "cuda":
        batch, kind = 8, torch.float32
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=device, dtype=kind)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, channels, side, side, device=device, dtype=kind).contiguous(
        memory_format=torch.channels_last
    )
    with torch.no_grad():
        return 2 * KERNEL * channels**2 * side**2 * batch / _seconds(lambda: layer(images), device, repeats)


def _seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Of one of many calls in a row on CUDA, where a call alone is mostly the wait for it."""
    calls = 50 if device.type == "cuda" else 1

    def several() -> None:
        for _ in range(calls):
            work()

    times = [harness.seconds_of(several, device) / calls for _ in range(repeats + 2)]
    return median(times[2:])


# The whole


def table6_hours(ceilings: Ceilings) -> float:
    from grid import table6

    return sum(trial.training.steps * floor(trial, ceilings) for trial in table6()) / 3600


def row_of(network: tuple[int, int], options: argparse.Namespace, ceilings: Ceilings) -> Row:
    n, c = network
    precision: Precision = "float32" if options.device.type == "cpu" and not options.no_steps else "bfloat16"
    value, period = 2 if precision == "bfloat16" else 4, 3 if n >= 25 else 1
    how = {"precision": precision, "compiled": options.compiled}
    config = harness.trial(n, c, period=period, data=options.data, batch=options.batch, **how)
    least = floor(config, ceilings, value)
    row: Row = {"network": f"({n},{c})", "GFLOP": step_flops(config) / 1e9, "MB": step_bytes(config, value) / 1e6}
    row |= {"floor_ms": 1e3 * least, "precision": precision}
    if options.no_steps:
        return row
    images, _ = harness.images_for(options.data, options.data_root, max(options.images, options.batch), 500)
    loop = OurLoop(config, images, options.device)
    times = harness.in_turns({"ours": loop.steps}, options.steps, options.repeats, options.device).wall["ours"]
    return row | harness.spread(times, "step_ms", 1e3) | harness.spread([t / least for t in times], "step_over_floor")


def benchmark(options: argparse.Namespace) -> Found:
    if options.flops and options.bandwidth:
        ceilings, whose = Ceilings(options.flops, options.bandwidth), "given"
    else:
        ceilings, whose = measured_ceilings(options.device, 5 * options.repeats), "measured in this run"
    rows = [row_of(network, options, ceilings) for network in options.network or [(3, 16)]]
    convolution = f", {ceilings.convolution / 1e12:.3g} TFLOP/s of a convolution" if ceilings.convolution else ""
    notes = [
        f"ceilings, {whose}: {ceilings.flops / 1e12:.3g} TFLOP/s of a product{convolution}, "
        f"{ceilings.bandwidth / 1e12:.3g} TB/s of a copy",
        f"Table 6 at the floor, in bfloat16, on this device: {table6_hours(ceilings):,.1f} hours",
        f"batch {options.batch}{', units compiled' * options.compiled}; n = {options.repeats} turns: the median, and "
        "least to most",
    ]
    return {"rows": rows, "notes": notes, "faults": [], "on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", steps=50 if torch.cuda.is_available() else 2)
    parser.add_argument(
        "--network", type=harness.size, action="append", metavar="N,C", help="again for more; default: 3,16"
    )
    parser.add_argument("--flops", type=float, help="operations a second; with --bandwidth, instead of measuring")
    parser.add_argument("--bandwidth", type=float, help="bytes a second, read and written")
    harness.compiled_units(parser)
    parser.add_argument("--no-steps", action="store_true", help="the floor alone, in bfloat16")
    return parser


if __name__ == "__main__":
    harness.main(benchmark, options())
