"""serving.embedded.server, servicers and error_interceptor: fake models over a real port, with our own stubs."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from serving.embedded.errors import ModelError
from serving.embedded.flags import Flags
from serving.embedded.server import serve
from serving.embedded.source import Source, published
from serving.transport.grpc_aio import AddressTakenError
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire import tensorflow_serving_pb2_grpc as tfs_grpc
from serving.wire.codec import to_numpy, to_proto
from tests.unit.serving.embedded.fakes import TIMEOUT, FakeLoader, eventually, publish

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Server:
    """A running server, and a channel to it."""

    def __init__(self, task: asyncio.Task[None], channel: grpc.aio.Channel) -> None:
        self.task = task
        self.channel = channel
        self.predictions = tfs_grpc.PredictionServiceStub(channel)
        self.models = tfs_grpc.ModelServiceStub(channel)

    async def predict(self, **spec: Any) -> tfs.PredictResponse:
        """Asks the model m for 1 + 1; `spec` says which version and signature."""
        request = tfs.PredictRequest(inputs={"x": to_proto(np.float32([1]))})
        set_spec(request, **{"name": "m"} | spec)
        return await self.predictions.Predict(request, timeout=TIMEOUT)


def set_spec(request: Any, *, version: int | None = None, **spec: str) -> None:
    """Sets a request's model_spec."""
    request.model_spec.MergeFrom(tfs.ModelSpec(**spec))
    if version is not None:
        request.model_spec.version.value = version


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base path with version 1."""
    publish(tmp_path, "1")
    return tmp_path


@pytest.fixture
def start(load: FakeLoader, base: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """Starts a server of the model m at `base`; a signal stops it at the end."""
    caplog.set_level(logging.INFO)

    @asynccontextmanager
    async def start(**flags: Any) -> AsyncIterator[Server]:
        options = {"model_base_path": base, "model_name": "m", "port": 0, "max_num_load_retries": 0} | flags
        task = asyncio.create_task(serve(Flags(**options), load))
        await eventually(lambda: task.done() or any(text.startswith("serving gRPC on") for text in caplog.messages))
        if task.done():
            await task
        (address,) = (text.split()[-1] for text in caplog.messages if text.startswith("serving gRPC on"))
        try:
            async with grpc.aio.insecure_channel(address, UNLIMITED) as channel:
                yield Server(task, channel)
        finally:
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.wait_for(task, TIMEOUT)

    return start


async def fails(call: Any) -> tuple[str, str]:
    """The code and text that a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details()


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
        assert signatures.signature_def == {"serving_default": tf.SignatureDef(method_name="predict")}


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


def reload_request(**bases: Path) -> tfs.ReloadConfigRequest:
    """A configuration of models by name, each at its base path."""
    request = tfs.ReloadConfigRequest()
    for name, base in bases.items():
        request.config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow")
    return request


async def test_reload(start: Callable[..., Any], base: Path, tmp_path: Path) -> None:
    """A reload replaces the configuration as a whole; the status in the answer is OK."""
    publish(tmp_path / "n", "5")
    async with start() as server:
        response = await server.models.HandleReloadConfigRequest(reload_request(n=tmp_path / "n"), timeout=TIMEOUT)
        assert response.HasField("status")
        assert response.status.error_code == 0
        assert (await server.predict(name="n")).model_spec.version.value == 5
        assert await fails(server.predict()) == ("NOT_FOUND", "Servable not found for request: Latest(m)")
        await server.models.HandleReloadConfigRequest(reload_request(m=base), timeout=TIMEOUT)
        await server.predict()


async def test_labels(start: Callable[..., Any], base: Path) -> None:
    """A label that a reload gives to a version is as good as its number; the answer has the number."""
    async with start() as server:
        request = reload_request(m=base)
        request.config.model_config_list.config[0].version_labels["stable"] = 1
        await server.models.HandleReloadConfigRequest(request, timeout=TIMEOUT)
        assert (await server.predict(version_label="stable")).model_spec.version.value == 1
        unknown = ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")
        assert await fails(server.predict(version_label="canary")) == unknown


async def test_refused_reload(start: Callable[..., Any], base: Path) -> None:
    """A configuration that is refused changes nothing."""
    async with start() as server:
        request = reload_request(m=base)
        request.config.model_config_list.config[0].version_labels["stable"] = 9
        for refused, code in (
            (tfs.ReloadConfigRequest(), "INVALID_ARGUMENT"),
            (request, "FAILED_PRECONDITION"),
            (reload_request(n=Path("relative")), "INVALID_ARGUMENT"),
        ):
            call = server.models.HandleReloadConfigRequest(refused, timeout=TIMEOUT)
            assert (await fails(call))[0] == code
        await server.predict()


CONFIG = """model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" {more} }} }}"""


async def test_config_file(
    start: Callable[..., Any], base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What changes in the configuration file is adopted; a typo is an error in the log and changes nothing."""
    file = tmp_path / "models.config"
    file.write_text(CONFIG.format(base=base, more=""))
    async with start(model_base_path=None, model_config_file=file, model_config_file_poll_wait_seconds=1) as server:
        await server.predict()
        file.write_text("typo" + CONFIG.format(base=base, more=""))
        await eventually(lambda: "the configuration stays as it was" in caplog.text)
        await server.predict()
        file.write_text(CONFIG.format(base=base, more='version_labels { key: "stable" value: 1 }'))
        await eventually(lambda: f"adopted {file}" in caplog.messages)
        await server.predict(version_label="stable")


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


async def test_drain(start: Callable[..., Any], load: FakeLoader, caplog: pytest.LogCaptureFixture) -> None:
    """After SIGTERM new calls are refused, those in flight finish, and the server ends."""
    async with start() as server:
        load.servables[1].gate.clear()
        call = asyncio.create_task(server.predict())
        await eventually(lambda: load.servables[1].running)
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: "stopping" in caplog.text)
        assert (await fails(server.predict()))[0] == "UNAVAILABLE"
        assert not server.task.done()
        load.servables[1].gate.set()
        assert (await call).outputs["y"].float_val == [2]
        await asyncio.wait_for(server.task, TIMEOUT)


async def test_taken_port(start: Callable[..., Any]) -> None:
    """A port that another has is an error, although gRPC would share it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTakenError, match=f"cannot listen on 127.0.0.1:{port}"):
            await start(port=port).__aenter__()
