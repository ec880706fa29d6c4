"""What holds for every protocol on the port: who may call, what is measured, reflection and health."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

from gateway.auth.keys import KeysFile, create
from serving.wire import open_inference_pb2 as oip
from serving.wire import tensorflow_serving_pb2 as tfs
from tensorgate.v1 import drift_service_pb2
from tensorgate.v1 import inference_service_pb2 as pb
from tests.fakes.promtool import problems
from tests.integration.conftest import TIMEOUT, Gateway, digits_server, gateways

OURS, PREDICTION, MODEL, OIP = (
    "tensorgate.v1.InferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "inference.GRPCInferenceService",
)
DRIFT = "tensorgate.v1.DriftService"
ROLLOUTS = "tensorgate.v1.RolloutService"
SERVICES = [OURS, DRIFT, ROLLOUTS, PREDICTION, MODEL, OIP]
REFLECTION = ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"]


@dataclass(frozen=True)
class Rpc:
    """A method with requests: for a model, and for the same of which the protocol makes nothing but NOT_FOUND."""

    service: str
    name: str
    request: Any
    streaming: bool = False

    @property
    def path(self) -> str:
        """The full name."""
        return f"/{self.service}/{self.name}"


def spec(model: str) -> tfs.ModelSpec:
    """A model of TensorFlow Serving's protocol."""
    return tfs.ModelSpec(name=model)


ABOUT_A_MODEL = [
    Rpc(OURS, "Predict", lambda model: pb.PredictRequest(model=model)),
    Rpc(OURS, "GetModel", lambda model: pb.GetModelRequest(model=model)),
    Rpc(DRIFT, "GetDrift", lambda model: drift_service_pb2.GetDriftRequest(model=model)),
    Rpc(PREDICTION, "Predict", lambda model: tfs.PredictRequest(model_spec=spec(model))),
    Rpc(PREDICTION, "Classify", lambda model: tfs.ClassificationRequest(model_spec=spec(model))),
    Rpc(PREDICTION, "Regress", lambda model: tfs.RegressionRequest(model_spec=spec(model))),
    Rpc(
        PREDICTION,
        "MultiInference",
        # Whoever may ask the first model may not ask the second for that.
        lambda model: tfs.MultiInferenceRequest(
            tasks=[tfs.InferenceTask(model_spec=spec(name)) for name in ("letters", model)]
        ),
    ),
    Rpc(PREDICTION, "GetModelMetadata", lambda model: tfs.GetModelMetadataRequest(model_spec=spec(model))),
    Rpc(MODEL, "GetModelStatus", lambda model: tfs.GetModelStatusRequest(model_spec=spec(model))),
    Rpc(OIP, "ModelReady", lambda model: oip.ModelReadyRequest(name=model)),
    Rpc(OIP, "ModelMetadata", lambda model: oip.ModelMetadataRequest(name=model)),
    Rpc(OIP, "ModelInfer", lambda model: oip.ModelInferRequest(model_name=model)),
]
OTHERS = [
    Rpc(OURS, "ListModels", lambda _: pb.ListModelsRequest()),
    Rpc(OURS, "StreamPredict", lambda _: pb.StreamPredictRequest(), streaming=True),
    Rpc(OIP, "ServerLive", lambda _: oip.ServerLiveRequest()),
    Rpc(OIP, "ServerReady", lambda _: oip.ServerReadyRequest()),
    Rpc(OIP, "ServerMetadata", lambda _: oip.ServerMetadataRequest()),
    *(
        Rpc(name, "ServerReflectionInfo", lambda _: reflection_pb2.ServerReflectionRequest(), True)
        for name in REFLECTION
    ),
]
RELOAD = Rpc(MODEL, "HandleReloadConfigRequest", lambda _: tfs.ReloadConfigRequest())


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """A key for each set of scopes."""
    return {}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, transport: str, keys: dict[str, str]) -> Iterator[Gateway]:
    """A gateway with `digits` and `letters` and keys for one of them, for all, and for administration."""
    with digits_server() as server, gateways(tmp_path_factory.mktemp("gateway"), transport) as start:
        server.models["letters"] = server.models["digits"]
        started = start(server.address, models="digits,letters")
        records = []
        for name, scope in (("letters", "predict:letters"), ("all", "predict:*"), ("admin", "admin")):
            keys[name], record = create(name, frozenset({scope}))
            records.append(record)
        KeysFile(keys=records).save(started.keys_file)
        while not any(line["event"] == "keys reloaded" for line in started.log()):
            time.sleep(0.05)
        yield started


@pytest.fixture
def status(gateway: Gateway, keys: dict[str, str]) -> Iterator[Any]:
    """What a call ends with: code and text."""
    with grpc.insecure_channel(gateway.address) as channel:

        def ask(rpc: Rpc, key: str | None, model: str = "digits") -> tuple[str, str]:
            metadata = [("authorization", f"Bearer {keys.get(key, key)}")] if key else []
            raw = rpc.request(model).SerializeToString()
            try:
                if rpc.streaming:
                    for _ in channel.stream_stream(rpc.path)(iter([raw]), metadata=metadata, timeout=TIMEOUT):
                        pass
                else:
                    channel.unary_unary(rpc.path)(raw, metadata=metadata, timeout=TIMEOUT)
            except grpc.RpcError as error:
                return error.code().name, error.details()
            return "OK", ""

        yield ask


def test_every_method_is_here(gateway: Gateway, keys: dict[str, str]) -> None:
    """No method of any service is left out of what is tested here."""
    listed = {(rpc.service, rpc.name) for rpc in (*ABOUT_A_MODEL, *OTHERS, RELOAD)}
    files = (pb.DESCRIPTOR, tfs.DESCRIPTOR, oip.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    assert {(service.full_name, method.name) for service in services for method in service.methods} <= listed


@pytest.mark.parametrize("rpc", [*ABOUT_A_MODEL, *OTHERS, RELOAD], ids=lambda rpc: rpc.path)
def test_without_a_valid_key(status: Any, rpc: Rpc) -> None:
    """Without a valid key every method is UNAUTHENTICATED, in the same words whether or not there is such a model."""
    for key in (None, "tg_0_wrong"):
        answers = {status(rpc, key, model) for model in ("digits", "cats")}
        assert len(answers) == 1
        assert answers.pop()[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize("rpc", ABOUT_A_MODEL, ids=lambda rpc: rpc.path)
def test_scopes(status: Any, rpc: Rpc) -> None:
    """A model outside the key's scopes is PERMISSION_DENIED, in the same words whether or not it exists."""
    for key in ("letters", "admin"):
        answers = {status(rpc, key, model) for model in ("digits", "cats")}
        assert len(answers) == 1
        assert answers.pop()[0] == "PERMISSION_DENIED"
    # What the fake server does not implement, or finds wrong, it has been asked.
    assert status(rpc, "letters", "letters")[0] in ("OK", "INVALID_ARGUMENT", "UNIMPLEMENTED")
    if rpc.name != "MultiInference":
        assert status(rpc, "all", "cats")[0] == "NOT_FOUND"


@pytest.mark.parametrize("rpc", OTHERS, ids=lambda rpc: rpc.path)
def test_any_key(status: Any, rpc: Rpc) -> None:
    """What concerns no model needs a key and no scope."""
    assert [status(rpc, key)[0] for key in ("letters", "all", "admin")] == ["OK"] * 3


def test_reload_is_for_administrators(status: Any) -> None:
    """HandleReloadConfigRequest needs the scope `admin`; no right to predict is enough."""
    assert [status(RELOAD, key)[0] for key in ("letters", "all")] == ["PERMISSION_DENIED"] * 2
    assert status(RELOAD, "admin")[0] == "OK"


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in ABOUT_A_MODEL if rpc.name != "MultiInference"], ids=lambda rpc: rpc.path
)
def test_metrics_and_log(gateway: Gateway, status: Any, rpc: Rpc) -> None:
    """Each call is counted by method, model and code, and logged with its client; made-up names are no label."""
    code, _ = status(rpc, "all", "letters")
    line = gateway.calls()[-1]
    assert (line["method"], line["client"], line["model"], line["code"]) == (rpc.path, "all", "letters", code)
    status(rpc, "all", "made-up")
    text = gateway.get("/metrics")[1]
    assert f'client="all",code="{code}",method="{rpc.path}",model="letters"' in text
    assert "made-up" not in text


def test_metrics_are_as_prometheus_wants_them(gateway: Gateway, status: Any) -> None:
    """Nothing that `promtool check metrics` knows is wrong with the page."""
    status(RELOAD, "admin")
    assert problems(gateway.get("/metrics")[1]) == []


async def reflect(gateway: Gateway, service: str, key: str, *requests: dict[str, str]) -> list[Any]:
    """The answers of reflection."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        call = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        sent = [reflection_pb2.ServerReflectionRequest(**request) for request in requests]
        return [answer async for answer in call(sent, metadata=[("authorization", f"Bearer {key}")], timeout=TIMEOUT)]


@pytest.mark.parametrize("version", REFLECTION)
async def test_reflection(gateway: Gateway, keys: dict[str, str], version: str) -> None:
    """Reflection lists every service and describes each with all that it needs, foreign ones too."""
    wanted = [*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    listed, *described = await reflect(
        gateway, version, keys["letters"], {"list_services": ""}, *({"file_containing_symbol": name} for name in wanted)
    )
    assert {service.name for service in listed.list_services_response.service} == set(wanted)
    for name, answer in zip(wanted, described, strict=True):
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        assert name in {f"{file.package}.{service.name}" for file in files for service in file.service}
        assert {needed for file in files for needed in file.dependency} <= {file.name for file in files}


async def test_health(gateway: Gateway) -> None:
    """Check, List and Watch know the gateway, each service and each model; nobody needs a key."""
    names = {"", *SERVICES, "digits", "letters"}
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        health = HealthStub(channel)
        listed = await health.List(health_pb2.HealthListRequest(), timeout=TIMEOUT)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert {name: answer.status for name, answer in listed.statuses.items()} == dict.fromkeys(names, serving)
        for name in names:
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == serving
            watch = health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT)
            assert (await watch.read()).status == serving
            watch.cancel()
        for method in ("Check", "List"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/grpc.health.v1.Health/{method}")(b"\xff", timeout=TIMEOUT)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_settings_hide(tmp_path_factory: pytest.TempPathFactory, transport: str) -> None:
    """Reflection can be off, and health can keep the models' names to itself."""
    with digits_server() as server, gateways(tmp_path_factory.mktemp("hidden"), transport) as start:
        gateway = start(server.address, "--no-reflection", "--no-auth.health-names-models")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            # Nothing is asked: a question may meet the refusal on its way, which grpc.aio calls an internal error.
            await reflect(gateway, REFLECTION[0], gateway.key)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            listed = await HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=TIMEOUT)
        assert set(listed.statuses) == {"", *SERVICES}
