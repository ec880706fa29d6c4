"""serving.embedded.warm_up: a version's own requests, replayed before it serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.embedded.batching.errors import UnfitBatchOutput
from serving.embedded.errors import SignatureNotFound
from serving.embedded.servable import Call
from serving.embedded.warm_up import MAX_RECORDS, load_warm
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, to_proto
from serving.wire.errors import ServingError
from tests.unit.serving.embedded.fakes import FakeLoader, FakeServable, publish

FILE = "assets.extra/tf_serving_warmup_requests"


def predict_log(signature: str = "") -> bytes:
    """A record of a Predict."""
    log = tfs.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    log.predict_log.request.inputs["x"].CopyFrom(to_proto(np.float32([1])))
    return log.SerializeToString()


class Counting(FakeServable):
    """Counts its calls."""

    calls = 0

    def prepare(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Call:
        """See Servable.prepare."""
        self.calls += 1
        return super().prepare(signature, inputs, outputs)


def warm(tmp_path: Path, *records: bytes, **options: Any) -> Counting:
    """A model that was loaded from a directory with warm-up records."""
    directory = publish(tmp_path, "1")
    (directory / FILE).parent.mkdir()
    (directory / FILE).touch()
    servable = Counting()
    try:
        assert load_warm(directory, lambda _: servable, lambda file: iter(records), **options) is servable
    except ServingError:
        assert servable.closed
        raise
    assert not servable.closed
    return servable


def test_replay(tmp_path: Path) -> None:
    """Every record is a call."""
    assert warm(tmp_path, *[predict_log()] * MAX_RECORDS).calls == MAX_RECORDS


def test_iterations_and_sizes(tmp_path: Path) -> None:
    """A record is replayed as often as was said, each time in batches of each size that holds it, too."""
    servable = warm(tmp_path, predict_log(), iterations=2, sizes=lambda _: (1, 4))
    assert servable.shapes == [(1,), (4,), (1,)] * 2


def test_size_that_fails(tmp_path: Path) -> None:
    """A model that cannot do with an allowed batch size is not served."""

    class Picky(Counting):
        def _execute(self, arguments: Sequence[Array]) -> list[Array]:
            outputs = super()._execute(arguments)
            return outputs if len(outputs[0]) == 1 else [outputs[0][:1]]

    servable = Picky()
    directory = publish(tmp_path, "1", FILE)
    with pytest.raises(UnfitBatchOutput):
        load_warm(directory, lambda _: servable, lambda _: [predict_log()], sizes=lambda _: (4,))
    assert servable.closed


def test_no_file(tmp_path: Path, load: FakeLoader) -> None:
    """A version without records is loaded as it is."""
    assert load_warm(publish(tmp_path, "1"), load, lambda file: 1 / 0) is load.servables[1]


@pytest.mark.parametrize(
    ("records", "code", "text"),
    [
        (
            [predict_log()] * (MAX_RECORDS + 1),
            "INVALID_ARGUMENT",
            "Number of warmup records exceeds the maximum (1000) at",
        ),
        ([b"\xff"], "INVALID_ARGUMENT", r"Failed to parse warmup record: b'\xff' from"),
        ([b""], "UNIMPLEMENTED", "Unsupported log_type for warmup in record 1 of"),
        ([predict_log(), predict_log("x")], "FAILED_PRECONDITION", str(SignatureNotFound("x"))),
        (
            [tfs.PredictionLog(classify_log={"request": {}}).SerializeToString()],
            "INVALID_ARGUMENT",
            "Expected one or two output Tensors",
        ),
        (
            [tfs.PredictionLog(regress_log={"request": {}}).SerializeToString()],
            "INVALID_ARGUMENT",
            "Expected one output Tensor.",
        ),
        (
            [tfs.PredictionLog(multi_inference_log={"request": {}}).SerializeToString()],
            "INVALID_ARGUMENT",
            "Input is empty.",
        ),
    ],
    ids=["too many", "no record", "other record", "Predict", "Classify", "Regress", "MultiInference"],
)
def test_failures(tmp_path: Path, records: list[bytes], code: str, text: str) -> None:
    """A record that cannot be answered fails the load, and nothing is left of the model."""
    with pytest.raises(ServingError) as caught:
        warm(tmp_path, *records)
    assert caught.value.code.name == code
    assert str(caught.value).startswith(text)
