"""What the exported model costs: the time of a call in process, and its size on disk."""

import functools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import InputSpec

# Rows of a call, with the number of calls that are timed.
_CALLS = {1: 300, 32: 50}
_PERCENTILES = (95, 99)
_WARM_UP = 5
NAMES = (*(f"latency_ms_{rows}{part}" for rows in _CALLS for part in ("", "_p95", "_p99")), "size_bytes")
"""Of what `measure` gives."""
_EXTRA = "assets.extra"


def measure(directory: Path, signature: str, spec: InputSpec, tensors: NDArray[np.float32]) -> dict[str, float]:
    """What the SavedModel in `directory` costs here, by name; `tensors` are inputs to call it with.

    `latency_ms_1` and `latency_ms_32` are medians in milliseconds of calls with one row and with 32, each with its 95th
    and 99th percentile in `…_p95` and `…_p99`; `size_bytes` leaves assets.extra out. The contract is inside the export
    and written before anything can be measured of it, so these go to MLflow and to the report, not into `evaluation`.
    """
    serve = tf.saved_model.load(str(directory)).signatures[signature]
    costs = {}
    for rows, calls in _CALLS.items():
        batch = {spec.name: tf.constant(np.resize(tensors, (rows, *spec.shape)))}
        times = _timed(functools.partial(serve, **batch), calls)
        costs[f"latency_ms_{rows}"] = float(np.median(times))
        costs |= {f"latency_ms_{rows}_p{part}": float(np.percentile(times, part)) for part in _PERCENTILES}
    return {**costs, "size_bytes": float(size(directory))}


def size(directory: Path) -> int:
    """Bytes of the files that a server reads."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if _EXTRA not in path.relative_to(directory).parts)


def _timed(call: Callable[[], object], calls: int) -> list[float]:
    """Milliseconds of each call, after a few to warm up."""
    times = []
    for _ in range(_WARM_UP + calls):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return times[_WARM_UP:]
