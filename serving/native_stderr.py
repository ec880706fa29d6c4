"""Quiet for TensorFlow's start: its C++ libraries write to stderr whatever TF_CPP_MIN_LOG_LEVEL says."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def native_stderr_dropped() -> Iterator[None]:
    """Drops what is written to the process's stderr meanwhile (tensorflow#100442)."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
