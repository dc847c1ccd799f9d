"""Settings of Ray's, MLflow's and torch's that they read when they are imported. Imports none of them."""

from __future__ import annotations

import logging
import os
from uuid import uuid4

SMALLER_TEAMS = (
    *("OMP_DYNAMIC", "OMP_DYNAMIC_ALL"),
    *("OMP_THREAD_LIMIT", "OMP_THREAD_LIMIT_ALL"),
    *("OMP_MAX_ACTIVE_LEVELS", "OMP_MAX_ACTIVE_LEVELS_ALL"),
    *("KMP_ALL_THREADS", "KMP_DEVICE_THREAD_LIMIT"),
)
"""Let OpenMP begin fewer threads than torch has asked for, which then waits for the others for ever."""
CHANGING_BITS = (
    "ATEN_CPU_CAPABILITY",
    "BLIS_ARCH_TYPE",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "GLIBC_TUNABLES",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
)
"""Choose other instructions, algorithms or precisions on the same machine, and so other bits."""
RETIRED = ("RAY_AIR_LOCAL_CACHE_DIR", "TUNE_RESULT_DIR")
"""Said where older versions of Ray left results. Today's Tune raises an error where one is set."""
OURS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What the trainer sets where nobody else has."""


def prepare_torch() -> None:
    """Takes away what makes torch hang. Comes before torch is imported: OpenMP reads its variables once."""
    for name in SMALLER_TEAMS:
        os.environ.pop(name, None)


def changing_bits() -> str:
    """The variables here that change bits, such as ``ATEN_CPU_CAPABILITY=default MKL_CBWR=AVX2``; "" if none is set."""
    given = {name: os.environ.get(name, "") for name in CHANGING_BITS}
    return " ".join(f"{name}={value}" for name, value in given.items() if value and value != OURS.get(name))


def prepare_ray(*, own_cluster: bool) -> None:
    """Makes Ray quiet, and keeps other users of this machine out of a cluster of our own."""
    prepare_torch()  # Ray's processes inherit what is left
    for name in RETIRED:
        os.environ.pop(name, None)
    _default("RAY_USAGE_STATS_ENABLED", "0")
    # Under `uv run` Ray would pack the working folder, or build an environment for each of its workers. They have ours.
    _default("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Tune's own loggers would write a CSV, a JSON and a TensorBoard file for each trial.
    _default("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's newer output prints failures even where it is told to be quiet.
    _default("RAY_AIR_NEW_OUTPUT", "0")
    # Ctrl-C is ours; and a worker that is stopped would be waited for, ten minutes at the end.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    _default("TUNE_FORCE_TRIAL_CLEANUP_S", "5")
    if not own_cluster:
        # Ray would try for ten minutes before it says that what listens there is no cluster.
        _default("RAY_NUM_REDIS_GET_RETRIES", "1")
    elif "RAY_AUTH_MODE" not in os.environ:
        # By default Ray would write a token to the user's home, which every later cluster there then asks for.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = uuid4().hex


def prepare_mlflow() -> None:
    """Makes MLflow quiet, also towards its makers, and quick to say that a server is down: it would try for minutes."""
    _default("MLFLOW_DISABLE_TELEMETRY", "true")
    _default("MLFLOW_CONFIGURE_LOGGING", "false")
    _default("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    _default("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    _default("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # What it raises it would print as well, with tracebacks.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _default(name: str, value: str) -> None:
    """Sets a variable that the user has not."""
    os.environ.setdefault(name, value)
