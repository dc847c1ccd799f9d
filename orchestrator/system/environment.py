"""Settings of Ray's and MLflow's that they read when they are imported. Imports neither."""

from __future__ import annotations

import logging
import os
from uuid import uuid4


def prepare_ray(*, own_cluster: bool) -> None:
    """Makes Ray quiet, and keeps other users of this machine out of a cluster of our own."""
    _default("RAY_USAGE_STATS_ENABLED", "0")
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
