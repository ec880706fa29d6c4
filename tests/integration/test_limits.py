"""What a caller is told whose calls are too many, through real gateways."""

from pathlib import Path

import pytest

from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.model_server import FakeModelServer
from tests.fakes.redis_server import RedisServer
from tests.integration.conftest import Gateway, StartGateway

PNG = digits.encode(digits.band(3))
RATE = ("--limits.client.calls-per-second=0.01", "--limits.client.burst=2")


async def refusal(gateway: Gateway) -> TensorgateError:
    """The error of a prediction that must be refused."""
    async with gateway.client() as client:
        with pytest.raises(TensorgateError) as caught:
            await client.predict(PNG)
    return caught.value


async def test_rate(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """Beyond its rate a client is told when to come again, and the model is not asked; metrics count it."""
    gateway = start_gateway(server.address, *RATE)
    async with gateway.client() as client:
        for _ in range(2):
            await client.predict(PNG)
    asked = len(server.batches)
    error = await refusal(gateway)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert error.retry_after == pytest.approx(100, abs=20)
    assert len(server.batches) == asked
    assert 'tensorgate_rejections_total{limit="client",reason="RATE_LIMITED"} 1.0' in gateway.get("/metrics")[1]


async def test_model(start_gateway: StartGateway, server: FakeModelServer) -> None:
    """A model's limit counts predictions of that model and nothing else."""
    gateway = start_gateway(server.address, '--limits.models={"digits": {"calls_per_second": 0.01, "burst": 1}}')
    async with gateway.client() as client:
        await client.predict(PNG)
        await client.get_model()
    assert (await refusal(gateway)).reason == "RATE_LIMITED"


async def test_replicas(start_gateway: StartGateway, server: FakeModelServer, tmp_path: Path) -> None:
    """Gateways with one Redis count together, and go on when it is gone."""
    redis = RedisServer(tmp_path)
    try:
        first, second = (
            start_gateway(server.address, *RATE, f"--limits.redis-url={redis.url}", "--limits.redis-timeout=5")
            for _ in range(2)
        )
        for gateway in (first, second):
            async with gateway.client() as client:
                await client.predict(PNG)
        assert (await refusal(first)).reason == "RATE_LIMITED"
        redis.stop()
        async with second.client() as client:
            await client.predict(PNG)
    finally:
        redis.stop()
