"""The embedded server with batching and request logging, asked by TensorFlow Serving's own client."""

import asyncio
import itertools
import shutil
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from stack.processes import Child
from tests.contract.client import TIMEOUT, Client, eventually, failure, model_spec, predict_request
from tests.contract.conftest import Start

METHODS = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
WARM_UP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(scope="module")
def server(start: Start, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Child, str, Path]:
    """A server that batches and logs, its address, and a directory with its base path and logs."""
    directory = tmp_path_factory.mktemp("batching")
    shutil.copytree(base, directory / "base")
    (directory / "batching").write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 1000 } max_enqueued_batches { value: 1000 } "
        "num_batch_threads { value: 2 } allowed_batch_sizes: [2, 8]"
    )
    (directory / "config").write_text(
        f'model_config_list {{ config {{ name: "wire" base_path: "{directory}/base" model_platform: "tensorflow" '
        f'logging_config {{ log_collector_config {{ filename_prefix: "{directory}/logs/wire" }} '
        "sampling_config { sampling_rate: 1 } } } }"
    )
    process, address = start(
        None,
        f"--model_config_file={directory}/config",
        "--enable_batching",
        "--batching_parameters_file",
        str(directory / "batching"),
    )
    return process, address, directory


@pytest.fixture
def batching(server: tuple[Child, str, Path]) -> Client:
    """A client of that server."""
    with Client(server[1]) as client:
        yield client


def test_own_rows(server: tuple[Child, str, Path]) -> None:
    """Of many requests at once, of one to eight rows, each gets its own, and a bad one alone fails."""

    async def run() -> None:
        async with grpc.aio.insecure_channel(server[1]) as channel:
            stub = PredictionServiceStub(channel)

            async def ask(number: int) -> None:
                x = np.full((1 + number % 8, 1), number, np.float32)
                response = await stub.Predict(predict_request({"x": x}), timeout=TIMEOUT)
                np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), x / 2 + 2)

            async def look_up(index: int) -> None:
                request = predict_request({"index": np.array([index], np.int32)}, signature_name="look_up")
                call = stub.Predict(request, timeout=TIMEOUT)
                if index < 3:
                    assert (await call).outputs["y"].float_val == [index + 1]
                else:
                    with pytest.raises(grpc.aio.AioRpcError, match=rf"= {index} is not in \[0, 3\)"):
                        await call

            await asyncio.gather(*map(ask, range(200)), *(look_up(number % 4) for number in range(100)))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("inputs", "signature", "text"),
    [
        ({"x": np.ones((9, 1), np.float32)}, "", "Task size 9 is larger than maximum input batch size 8"),
        ({}, "scale", "Signature input alias: x"),
        ({"steps": np.int32(1)}, "count", "Batching Run() input tensors must have at least one dimension"),
        (
            {"a": np.ones(1, np.float32), "b": np.ones(2, np.float32)},
            "arithmetic",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_refusals(batching: Client, inputs: dict[str, np.ndarray], signature: str, text: str) -> None:
    """What cannot be batched is refused in TensorFlow Serving's words."""
    request = predict_request(inputs, signature_name=signature)
    code, given = failure(batching.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert given.startswith(text)


def test_huge_dimensions(batching: Client) -> None:
    """A shape of 2^40 elements or more is refused before anything is allocated."""
    for dims in ([2**40], [2**20, 2**20], [2**62, 4], [-1], [0, 2**62]):
        proto = TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[1])
        for size in dims:
            proto.tensor_shape.dim.add(size=size)
        assert failure(batching.predictions.Predict, predict_request({"x": proto})) == (
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        )


shapes = st.lists(st.sampled_from([0, 1, 2, 3, 9, -1, 2**31, 2**40, 2**63 - 1]), max_size=4)
tensors = st.builds(
    lambda dtype, shape, content, values: TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": size} for size in shape]},
        tensor_content=content,
        float_val=values,
    ),
    st.integers(0, 23),
    shapes,
    st.binary(max_size=16),
    st.lists(st.floats(width=32), max_size=4),
)
requests = st.builds(
    lambda spec, inputs, outputs: predict_request(inputs, *outputs, **spec),
    st.fixed_dictionaries(
        {"signature_name": st.sampled_from(["", "arithmetic", "scale", "scalars", "heads", "look_up", "x"])}
    ),
    st.dictionaries(st.sampled_from(["x", "a", "b", "index", "inputs", "factor"]), tensors, max_size=2),
    st.lists(st.sampled_from(["y", "sum", "scores", "\0"]), max_size=2),
).map(lambda request: request.SerializeToString())
garbage = st.lists(st.one_of(requests, st.binary(max_size=64)), min_size=100, max_size=100)


# Random batches of messages are not worth shrinking: the assertion shows the one.
@settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(contents=garbage)
def test_garbage(server: tuple[Child, str, Path], contents: list[bytes]) -> None:
    """Thousands of random messages, and of requests that lie, are each answered or refused; the server serves on."""

    async def run() -> None:
        async with grpc.aio.insecure_channel(server[1]) as channel:

            async def send(method: str, content: bytes) -> None:
                call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
                try:
                    await call(content, timeout=TIMEOUT)
                except grpc.aio.AioRpcError as error:
                    assert error.code().name in REFUSALS, (error.code(), error.details(), content)  # noqa: PT017  # or none

            await asyncio.gather(*map(send, itertools.cycle(["Predict", *METHODS]), contents))
            request = predict_request({"x": np.array([[4]], np.float32)})
            answer = await PredictionServiceStub(channel).Predict(request, timeout=TIMEOUT)
            assert answer.outputs["y"].float_val == [4]

    asyncio.run(run())


def test_log_becomes_warm_up(server: tuple[Child, str, Path], batching: Client) -> None:
    """What was logged is TensorFlow Serving's own record, and as a warm-up file makes a version ready."""
    process, address, directory = server
    request = predict_request({"x": np.array([[7]], np.float32)})

    async def fill() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = PredictionServiceStub(channel)
            await asyncio.gather(*(stub.Predict(request, timeout=TIMEOUT) for _ in range(1000)))

    asyncio.run(fill())
    eventually(lambda: list((directory / "logs").glob("*.tfrecord")))
    file = next((directory / "logs").glob("*.tfrecord"))
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    mine = [log for log in logs if log.predict_log.request == request]
    assert [log.predict_log.response.outputs["y"].float_val for log in mine] == [[5.5]] * len(mine)
    assert mine[0].log_metadata.model_spec == model_spec(version=1, signature_name="serving_default")
    version = directory / "2"
    shutil.copytree(directory / "base/1", version)
    (version / WARM_UP).parent.mkdir()
    shutil.copy(file, version / WARM_UP)
    version.rename(directory / "base/2")
    process.wait_for(f"base/2 answered {len(logs)} warm-up requests", TIMEOUT)
    eventually(lambda: batching.states() == {1: "END", 2: "AVAILABLE"})


def test_bad_file(start: Start, base: Path, tmp_path: Path) -> None:
    """A parameters file that cannot be is told at start, as is one without --enable_batching."""
    (tmp_path / "batching").write_text("max_batch_size { value: 0 }")
    for flags, text in (
        (["--enable_batching"], "max_batch_size must be positive; was 0"),
        ([], "--batching_parameters_file is set without --enable_batching"),
    ):
        with pytest.raises(Exception, match=text):
            start(base, f"--batching_parameters_file={tmp_path / 'batching'}", *flags)
