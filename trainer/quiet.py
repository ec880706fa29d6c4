"""Keeps what TensorFlow, MLflow and Matplotlib say about themselves out of the log. In effect before their import."""

import logging
from collections.abc import MutableMapping

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
