"""Where a number comes from beside its code: the machine that it ran on, and who ran it."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version

from orchestrator.system.environment import changing_bits
from orchestrator.system.hardware import cpu_model


def user() -> str:
    """Who runs this process, by name, or by number as in a container whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def machine(*, gpu: bool) -> dict[str, str]:
    """What of this machine and its software can change the bits: ``device_name``, the versions of python, torch and
    numpy, for a GPU those of its driver and of CUDA, and where there are any the variables of ``environment``."""
    given = {"environment": variables} if (variables := changing_bits()) else {}
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}}
    return (_gpu() if gpu else {"device_name": cpu_model()}) | versions | given


@lru_cache
def _gpu() -> dict[str, str]:
    import torch

    facts = {"device_name": torch.cuda.get_device_name(), "gpu_driver": _gpu_driver(), "cuda": torch.version.cuda}
    return {name: value for name, value in facts.items() if value}


def _gpu_driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] if said else None
