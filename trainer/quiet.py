"""Keeps what TensorFlow, MLflow and Matplotlib say about themselves out of the log. In effect before their import."""

import contextlib
import logging
import os
from collections.abc import Iterator, MutableMapping

_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A tracking server that is away is given up after seconds, not minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


def configure(environment: MutableMapping[str, str]) -> None:
    """Sets the libraries' environment variables, except those that are set already."""
    for name, value in _SETTINGS.items():
        environment.setdefault(name, value)
    # Its first import on a machine warns that it takes long.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


@contextlib.contextmanager
def native_stderr() -> Iterator[None]:
    """Drops what is written to the process's stderr meanwhile.

    While TensorFlow is loading, its C++ libraries log whatever TF_CPP_MIN_LOG_LEVEL says (tensorflow#100442).
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
