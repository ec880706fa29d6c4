"""Versions that follow one another under load: no call fails, none is answered by a version that is gone."""

from pathlib import Path

import numpy as np

from loadtest.swap import swap
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from tests.contract import models


async def test_swap(tmp_path: Path) -> None:
    """With batching too, while each takes over from the one before; `python -m loadtest.swap` does it for a minute."""
    models.write_half_plus_two(tmp_path / "model")
    request = tfs.PredictRequest(inputs={"x": to_proto(np.ones((1, 1), np.float32))})
    outcome = await swap(tmp_path / "model", request, versions=5, seconds=5, flags=("--enable_batching",))
    assert not outcome.failures
    assert not outcome.strangers
    assert outcome.answers.keys() == set(range(1, 6))
    assert all(size < 1.2 * outcome.memory[0] for size in outcome.memory)
