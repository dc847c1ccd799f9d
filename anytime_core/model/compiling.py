"""The units of a network compiled by torch: optional, as what lies between convolutions is fused and rounded otherwise.

A unit is compiled once for each of its shapes, whatever network it is in. What torch keeps of it on the disk serves
later workers too.
"""

from __future__ import annotations

import os
from shutil import which

import torch
import torch._dynamo
import torch._inductor.config

from anytime_core.errors import ConfigError
from anytime_core.files import user_cache
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.network import Unit

SHAPES = 128
"""Compiled forms of a unit that a worker may have: 12 shapes in Table 6, each in training and evaluation, or frozen."""


def compile_units(network: AnytimeModule, device: torch.device) -> None:
    """From here on units run compiled. The first pass of a new shape takes seconds to a minute. Raises ConfigError."""
    compilers = filter(None, [os.environ.get("CXX"), "g++", "clang++"])
    if device.type == "cpu" and not any(map(which, compilers)):
        raise ConfigError("compiled is true, but there is no C++ compiler: install g++ or clang++, or name one in CXX")
    if folder := user_cache():
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    torch._inductor.config.deterministic = True
    for module in network.modules():
        if isinstance(module, Unit):
            module.compile(dynamic=False, fullgraph=True)
