"""tensorgate.v1.DriftService, over a gateway and a fake model server"""

import json
import re
from collections.abc import Iterator

import grpc
import grpc.aio
import numpy as np
import pytest

from serving.contract import Reference
from serving.reference import by_quantiles, of_sources, source
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import to_proto
from serving.wire.tensorflow_serving_pb2_grpc import PredictionServiceStub
from tensorgate.v1 import drift_service_pb2 as pb
from tensorgate.v1.drift_service_pb2_grpc import DriftServiceStub
from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually
from tests.integration.test_client import command

BANDS = [digits.band(digit, 56) for digit in range(10)]
SOURCES = [source(band[:, :, np.newaxis]) for band in BANDS]
REFERENCE = Reference(
    instances=1000,
    inputs={name: by_quantiles(np.repeat(values, 100)) for name, values in of_sources(SOURCES).items()},
    predictions={str(digit): 100 for digit in range(10)},
    confidence=by_quantiles(np.full(1000, 0.91)),
)


@pytest.fixture
def server() -> Iterator[FakeModelServer]:
    """A fake model server whose contract has a reference."""
    fake = FakeModelServer(digits=FakeModel(contract=digits.contract(reference=REFERENCE).model_dump_json()))
    fake.start()
    yield fake
    fake.close()


async def drift(gateway: Gateway, key: str = "", **request: object) -> pb.GetDriftResponse:
    """What GetDrift answers."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        metadata = (("authorization", f"Bearer {key or gateway.key}"),)
        answer: pb.GetDriftResponse = await DriftServiceStub(channel).GetDrift(
            pb.GetDriftRequest(**request), metadata=metadata, timeout=TIMEOUT
        )
        return answer


async def ask(gateway: Gateway, images: list[np.ndarray], rows: int) -> None:
    """Predicts on `rows` images in requests of 50."""
    encoded = [digits.encode(image) for image in images]
    async with gateway.client() as client:
        for _ in range(rows // 50):
            await client.predict_batch((encoded * 5)[:50])


async def test_drift_is_seen(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Clean images leave a version steady; inverted ones, which the model answers just as well, make it drift."""
    gateway = start_gateway(server.address, "--drift.look-rows=100")
    before = await drift(gateway)
    assert (before.model, before.version, before.state) == ("digits", 1, pb.DRIFT_STATE_COLLECTING)
    await ask(gateway, BANDS, 200)

    async def reached(state: pb.DriftState.ValueType) -> pb.GetDriftResponse | None:
        answer = await drift(gateway, model="digits")
        return answer if answer.state == state else None

    steady = await eventually(lambda: reached(pb.DRIFT_STATE_STEADY))
    assert steady.summary.startswith("no drift in 200 predictions")
    await ask(gateway, [255 - band for band in BANDS], 200)
    found = await eventually(lambda: reached(pb.DRIFT_STATE_DRIFTED))
    assert [(alarm.kind, alarm.feature) for alarm in found.alarms] == [(pb.DRIFT_KIND_INPUT, "image_brightness")]
    assert "image_brightness" in found.summary
    window = found.windows[0]
    assert (window.duration.seconds, window.rows) == (300, 400)
    features = {feature.name: feature for feature in window.features}
    assert list(features["prediction"].labels) == list("0123456789")
    assert list(features["prediction"].window) == [40] * 10
    assert sum(features["image_brightness"].reference) == 1000
    assert len(features["image_brightness"].edges) == len(features["image_brightness"].window) + 1
    assert (
        'tensorgate_drift_alarm{feature="image_brightness",kind="input",model="digits",version="1"} 1.0'
        in (gateway.get("/metrics")[1])
    )
    # And to people.
    async with gateway.client() as client:
        seen = await client.drift("digits")
    assert (seen.version, seen.state, seen.drifted, seen.rows) == (1, "drifted", ("image_brightness",), 400)
    ended = command(gateway, "drift")
    assert (ended.returncode, ended.stderr) == (0, b"")
    text = ended.stdout.decode()
    assert text.startswith("digits, version 1: drifted. drift: image_brightness (PSI")
    assert re.search(r"image_brightness │ +[1-9]\.\d{3} ", text), text
    assert re.search(r"prediction .*│ +0\.000 ", text), text
    assert json.loads(command(gateway, "drift", "--json").stdout)["alarms"][0]["feature"] == "image_brightness"


async def test_other_protocols_count(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Tensors of TensorFlow Serving's protocol have no features of images as they came, and all others."""
    gateway = start_gateway(server.address)
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="digits"))
    request.inputs["image"].CopyFrom(to_proto(np.zeros((3, 28, 28), np.float32)))
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        metadata = (("authorization", f"Bearer {gateway.key}"),)
        await PredictionServiceStub(channel).Predict(request, metadata=metadata, timeout=TIMEOUT)

    async def counted() -> pb.GetDriftResponse | None:
        answer = await drift(gateway)
        return answer if answer.rows else None

    window = (await eventually(counted)).windows[0]
    rows = {feature.name: sum(feature.window) for feature in window.features}
    assert (window.rows, rows) == (3, {**dict.fromkeys(rows, 0), "prediction": 3, "confidence": 3})


async def test_who_may_not(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Reading drift needs the scope `predict` on the model; what there is not is not found."""
    gateway = start_gateway(server.address, scopes=("predict:letters",))
    for key, code in (("", grpc.StatusCode.PERMISSION_DENIED), ("tg_x", grpc.StatusCode.UNAUTHENTICATED)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drift(gateway, key=key, model="digits")
        assert caught.value.code() is code
    allowed = start_gateway(server.address)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drift(allowed, version=7)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_off(server: FakeModelServer, start_gateway: StartGateway) -> None:
    """Where drift is not watched the call says so, and there are no gauges."""
    gateway = start_gateway(server.address, "--no-drift.enabled")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drift(gateway)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "tensorgate_drift" not in gateway.get("/metrics")[1]
