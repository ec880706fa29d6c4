"""serving.embedded.server, servicers and error_interceptor: fake models over a real port, with our own stubs."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from serving.embedded.errors import ModelError
from serving.embedded.source import Source, published
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_numpy, to_proto
from tests.unit.serving.embedded.fakes import TIMEOUT, FakeLoader, FakeRecordFile, FakeServable, eventually, publish
from tests.unit.serving.embedded.running import Server, fails, set_spec

PREDICT = "/tensorflow.serving.PredictionService/Predict"


async def test_predict(start: Callable[..., Any]) -> None:
    """Predict runs a signature; the answer names the version that was meant and the signature."""
    async with start() as server:
        for spec in ({}, {"version": 1}, {"signature_name": "serving_default"}):
            response = await server.predict(**spec)
            assert response.outputs["y"].float_val == [2]
            assert (response.model_spec.name, response.model_spec.version.value) == ("m", 1)
            assert response.model_spec.signature_name == "serving_default"


async def test_tensor_content(start: Callable[..., Any]) -> None:
    """The flag makes answers come in tensor_content."""
    async with start(enable_serialization_as_tensor_content=True) as server:
        output = (await server.predict()).outputs["y"]
        assert (output.float_val, to_numpy(output)) == ([], [2])


async def test_large_messages(start: Callable[..., Any]) -> None:
    """A message far beyond gRPC's own limit of 4 MB passes in both directions."""
    async with start(enable_serialization_as_tensor_content=True) as server:
        request = tfs.PredictRequest(inputs={"x": to_proto(np.zeros(4 << 20, np.float32))})
        set_spec(request, name="m")
        response = await server.predictions.Predict(request, timeout=TIMEOUT)
        assert to_numpy(response.outputs["y"]).sum() == 4 << 20


async def test_metadata(start: Callable[..., Any]) -> None:
    """GetModelMetadata answers with the signatures and the version that they are of."""
    async with start() as server:
        request = tfs.GetModelMetadataRequest(metadata_field=["signature_def"])
        set_spec(request, name="m")
        response = await server.predictions.GetModelMetadata(request, timeout=TIMEOUT)
        assert response.model_spec.version.value == 1
        assert not response.model_spec.signature_name
        signatures = tfs.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        assert signatures.signature_def == FakeServable().signatures


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "n"}, "NOT_FOUND", "Servable not found for request: Latest(n)"),
        ({"name": "m", "version": 9}, "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
        ({"name": "m", "version": 0}, "NOT_FOUND", "Servable not found for request: Specific(m, 0)"),
        ({"name": "m", "version_label": "x"}, "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
    ],
)
async def test_model_spec_errors(start: Callable[..., Any], spec: dict[str, Any] | None, code: str, text: str) -> None:
    """A model that cannot be told or found is refused in TFS's words, by Predict as by GetModelMetadata."""
    async with start() as server:
        requests: tuple[Any, ...] = (
            tfs.PredictRequest(),
            tfs.GetModelMetadataRequest(metadata_field=["signature_def"]),
        )
        for request, method in zip(
            requests, (server.predictions.Predict, server.predictions.GetModelMetadata), strict=True
        ):
            if spec is not None:
                set_spec(request, **spec)
            assert await fails(method(request, timeout=TIMEOUT)) == (code, text)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "x"], "Metadata field %s is not supportedx"),
    ],
)
async def test_metadata_field_errors(start: Callable[..., Any], fields: list[str], text: str) -> None:
    """Metadata other than the signatures is refused, before the model is looked for."""
    async with start() as server:
        request = tfs.GetModelMetadataRequest(metadata_field=fields)
        set_spec(request, name="other")
        assert await fails(server.predictions.GetModelMetadata(request, timeout=TIMEOUT)) == ("INVALID_ARGUMENT", text)


async def test_unparsable_tensor(start: Callable[..., Any]) -> None:
    """An input that is no tensor is named."""
    async with start() as server:
        request = tfs.PredictRequest(inputs={"a": tf.TensorProto()})
        set_spec(request, name="m")
        assert await fails(server.predictions.Predict(request)) == ("INVALID_ARGUMENT", "tensor parsing error: a")


async def test_unexpected_error(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is INTERNAL without its text; the log has the traceback."""
    async with start() as server:
        assert await fails(server.predict(signature_name="broken")) == ("INTERNAL", "internal error")
    assert "ZeroDivisionError: secret" in caplog.text


async def test_not_a_message(start: Callable[..., Any]) -> None:
    """Bytes that are no message are the caller's error, and the server goes on."""
    async with start() as server:
        code, _ = await fails(server.channel.unary_unary(PREDICT)(b"\xff\xff", timeout=TIMEOUT))
        assert code == "INVALID_ARGUMENT"
        await server.predict()


async def test_other_methods(start: Callable[..., Any]) -> None:
    """What the server does not offer is UNIMPLEMENTED."""
    async with start() as server:
        for method in ("PredictionService/PredictStreamed", "Other/Method"):
            call = server.channel.unary_unary(f"/tensorflow.serving.{method}")(b"", timeout=TIMEOUT)
            assert (await fails(call))[0] == "UNIMPLEMENTED"


async def statuses(server: Server, **spec: Any) -> dict[int, tuple[str, int, str]]:
    """State, error code and error text of the versions that GetModelStatus answers with."""
    request = tfs.GetModelStatusRequest()
    set_spec(request, **{"name": "m"} | spec)
    response = await server.models.GetModelStatus(request, timeout=TIMEOUT)
    return {
        entry.version: (
            tfs.ModelVersionStatus.State.Name(entry.state),
            entry.status.error_code,
            entry.status.error_message,
        )
        for entry in response.model_version_status
    }


async def test_statuses(
    start: Callable[..., Any], load: FakeLoader, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New versions are found while the server runs; the statuses tell of all there were, a label changes nothing."""
    load.failures[3] = [ModelError(grpc.StatusCode.DATA_LOSS, "torn")]
    expected = {1: ("AVAILABLE", 0, "")}
    async with start() as server:
        assert await statuses(server) == expected
        publish(base, "2")
        await eventually(lambda: "m version 1 is unloaded" in caplog.messages)
        expected |= {1: ("END", 0, ""), 2: ("AVAILABLE", 0, "")}
        assert await statuses(server) == expected
        publish(base, "3")
        await eventually(lambda: "m version 3 cannot be loaded: torn" in caplog.messages)
        expected |= {3: ("END", 15, "torn")}
        assert await statuses(server) == expected
        assert await statuses(server, version_label="x") == expected
        assert await statuses(server, version=3) == {3: ("END", 15, "torn")}
        assert (await server.predict()).model_spec.version.value == 2


async def test_status_errors(start: Callable[..., Any]) -> None:
    """The status of what was never there is refused in TFS's words."""
    async with start() as server:
        assert await fails(statuses(server, version=9)) == ("NOT_FOUND", "Could not find version 9 of model m")
        assert await fails(statuses(server, name="n")) == ("NOT_FOUND", "Could not find any versions of model n")
        missing = server.models.GetModelStatus(tfs.GetModelStatusRequest(), timeout=TIMEOUT)
        assert await fails(missing) == ("INVALID_ARGUMENT", "Missing ModelSpec")


async def test_no_version_yet(start: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The port opens before there is a version; until then the model is not found."""
    async with start(model_base_path=tmp_path / "later") as server:
        assert await fails(statuses(server)) == ("NOT_FOUND", "Could not find any versions of model m")
        publish(tmp_path / "later", "1")
        await eventually(lambda: "m version 1 is available" in caplog.messages)
        await server.predict()


async def test_failed_load_opens_the_port(start: Callable[..., Any], load: FakeLoader) -> None:
    """A version that failed to load, and is to be tried again, does not keep the port closed."""
    load.failures[1] = [ModelError(grpc.StatusCode.DATA_LOSS, "torn")]
    async with start(max_num_load_retries=1) as server:
        assert await statuses(server) == {1: ("LOADING", 0, "")}


async def test_polling_survives(
    start: Callable[..., Any], base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A look for versions that goes wrong in an unforeseen way is not the last."""
    async with start():
        looks = iter([ZeroDivisionError])

        def poll(source: Source) -> Any:
            for error in looks:
                raise error
            return dict(published(base))

        monkeypatch.setattr(Source, "poll", poll)
        publish(base, "2")
        await eventually(lambda: "m version 2 is available" in caplog.messages)


async def test_batched_deadline(start: Callable[..., Any], load: FakeLoader) -> None:
    """With batching a request whose deadline passes leaves the queue, and a version that goes answers the others."""
    async with start(enable_batching=True, file_system_poll_wait_seconds=0) as server:
        servable = load.servables[1]
        servable.gate.clear()
        calls = []
        for count in range(1, (os.cpu_count() or 1) + 1):
            calls.append(asyncio.create_task(server.predict()))
            await eventually(lambda count=count: servable.running == count)
        request = tfs.PredictRequest(inputs={"x": to_proto(np.zeros((2, 3), np.float32))})
        set_spec(request, name="m")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.predictions.Predict(request, timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        calls.append(asyncio.create_task(server.predict()))
        # The one that was late has been prepared too.
        await eventually(lambda: servable.prepared == len(calls) + 1)
        nothing = tfs.ReloadConfigRequest()
        nothing.config.model_config_list.SetInParent()
        await server.models.HandleReloadConfigRequest(nothing, timeout=TIMEOUT)
        assert not servable.closed
        servable.gate.set()
        for call in calls:
            assert (await call).outputs["y"].float_val == [2]
        await eventually(lambda: servable.closed)
        assert servable.shapes == [(1,)] * len(calls)


async def test_large_request_in_batches(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With batching a request of more than a megabyte is read on a thread, a smaller one on the event loop."""
    readers, prepare = list[str](), FakeServable.prepare

    def watched(*arguments: Any) -> Any:
        readers.append(threading.current_thread().name)
        return prepare(*arguments)

    monkeypatch.setattr(FakeServable, "prepare", watched)
    async with start(enable_batching=True) as server:
        for size in (200_000, 300_000):
            request = tfs.PredictRequest(inputs={"x": to_proto(np.zeros((1, size), np.float32))})
            set_spec(request, name="m")
            response = await server.predictions.Predict(request, timeout=TIMEOUT)
            assert to_numpy(response.outputs["y"]).shape == (1, size)
    assert readers == [threading.main_thread().name, "call_0"]


async def test_batching_parameters_of_a_version(start: Callable[..., Any], load: FakeLoader, base: Path) -> None:
    """With its own file a version is batched and warmed up as that says; one without is not batched."""
    own = publish(base, "2")
    (own / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: [2, 4]")
    log = tfs.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(to_proto(np.float32([1])))
    (own / "assets.extra").mkdir()
    file = FakeRecordFile(own / "assets.extra/tf_serving_warmup_requests")
    file.write(log.SerializeToString())
    file.close()
    async with start(enable_batching=True, enable_per_model_batching_parameters=True) as server:
        assert load.servables[2].shapes == [(2,), (4,), (1,)]
        await server.predict()
        assert load.servables[2].shapes[3:] == [(2,)]
        request = tfs.PredictRequest(inputs={"x": to_proto(np.zeros(5, np.float32))})
        set_spec(request, name="m")
        assert (await fails(server.predictions.Predict(request)))[1].startswith("Task size 5 is larger")
        (own / "saved_model.pb").unlink()
        await eventually(lambda: 1 in load.servables)
        await eventually(lambda: load.servables[2].closed)
        await server.predict()
        assert load.servables[1].shapes == [(1,)]


async def test_wrong_batching_parameters_of_a_version(start: Callable[..., Any], base: Path) -> None:
    """A version whose own file cannot be is not loaded, and says why."""
    (base / "1/batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    async with start(enable_batching=True, enable_per_model_batching_parameters=True) as server:
        request = tfs.GetModelStatusRequest()
        request.model_spec.name = "m"
        (version,) = (await server.models.GetModelStatus(request)).model_version_status
    assert (version.state, version.status.error_code) == (tfs.ModelVersionStatus.END, 3)
    assert "max_batch_size must be positive; was 0" in version.status.error_message
