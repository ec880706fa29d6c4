"""Who may call the gateway, by every kind of credential, and what those who may not are told."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator

import grpc
import grpc.aio
import pytest
import yaml

from gateway.auth.keys import KeysFile
from tensorgate.errors import from_rpc
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.fakes import digits
from tests.fakes.issuer import AUDIENCE, Issuer
from tests.integration.conftest import TIMEOUT, Gateway, digits_server, eventually, gateways

PNG = digits.encode(digits.band(3))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer that the module's gateway trusts."""
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Gateway]:
    """A gateway that takes keys and the issuer's tokens."""
    file = tmp_path_factory.mktemp("settings") / "gateway.yaml"
    taken = {"issuer": issuer.url, "audiences": [AUDIENCE], "insecure_http": True}
    file.write_text(yaml.safe_dump({"auth": {"issuers": [taken]}}))
    with (
        pytest.MonkeyPatch.context() as patch,
        digits_server() as fake,
        gateways(tmp_path_factory.mktemp("gateway"), transport) as start,
    ):
        patch.setenv("TENSORGATE_CONFIG", str(file))
        yield start(fake.address)


async def outcome(gateway: Gateway, *metadata: tuple[str, str], model: str = "digits") -> tuple[str, str, str]:
    """Code, reason and text of a prediction."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        request = pb.PredictRequest(model=model, instances=[pb.Instance(image=PNG)])
        try:
            await InferenceServiceStub(channel).Predict(request, metadata=metadata, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc(error)
            return failure.code, failure.reason, failure.message
        return "OK", "", ""


def bearer(credential: str) -> tuple[str, str]:
    """The metadata with a credential."""
    return "authorization", f"Bearer {credential}"


async def test_token(gateway: Gateway, issuer: Issuer) -> None:
    """A token of the issuer opens what its scopes cover; the log names the client, metrics its issuer alone."""
    assert (await outcome(gateway, bearer(issuer.token(scope="predict:digits"))))[0] == "OK"
    assert (await outcome(gateway, bearer(issuer.token(scope="openid"))))[0] == "PERMISSION_DENIED"
    assert (await outcome(gateway, bearer(issuer.token(exp=1))))[0] == "UNAUTHENTICATED"
    assert {line["client"] for line in gateway.calls()} >= {"ada", "anonymous"}
    metrics = gateway.get("/metrics")[1]
    assert f'client="{issuer.url}",code="OK"' in metrics
    assert "ada" not in metrics
    assert issuer.token().split(".")[0] not in gateway.process.log.read_text()


async def test_the_first_credential_counts(gateway: Gateway, issuer: Issuer) -> None:
    """Of several credentials the first counts, `x-api-key` before `authorization`: a bad one is not made up for."""
    good, bad = issuer.token(scope="predict:*"), issuer.token(exp=1)
    assert (await outcome(gateway, ("x-api-key", gateway.key), bearer(bad)))[0] == "OK"
    assert (await outcome(gateway, ("x-api-key", "tg_x_y"), bearer(good)))[0] == "UNAUTHENTICATED"
    assert (await outcome(gateway, ("authorization", f"Basic {gateway.key}")))[0] == "UNAUTHENTICATED"


STRANGERS: dict[str, Callable[[Issuer], list[tuple[str, str]]]] = {
    "nothing": lambda _: [],
    "no key": lambda _: [bearer("tg_0_0")],
    "garbage": lambda _: [bearer("a.b.c")],
    "expired": lambda issuer: [bearer(issuer.token(exp=1))],
    "no scope": lambda issuer: [bearer(issuer.token())],
    "another scope": lambda issuer: [bearer(issuer.token(scope="predict:cats feedback:* admin"))],
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_existence(gateway: Gateway, issuer: Issuer, who: str) -> None:
    """Who may not call a model is told the same whether or not there is such a model."""
    presented = STRANGERS[who](issuer)
    there = await outcome(gateway, *presented, model="digits")
    assert there == await outcome(gateway, *presented, model="unicorns")
    assert there[0] == ("PERMISSION_DENIED" if "scope" in who else "UNAUTHENTICATED")


async def test_issuer_away(gateway: Gateway, issuer: Issuer) -> None:
    """While the issuer is down its known keys stay in force."""
    await outcome(gateway, bearer(issuer.token(scope="predict:*")))
    issuer.behaviour = {"/keys": 500}
    assert (await outcome(gateway, bearer(issuer.token(scope="predict:*", jti="x"))))[0] == "OK"
    issuer.behaviour = {}


async def test_rotation_of_keys(gateway: Gateway) -> None:
    """After a rotation the new key and, for a while, the old one are taken, for the same client and scopes."""
    file = gateway.keys_file
    (old,) = KeysFile.load(file).keys
    command = [sys.executable, "-m", "gateway", "keys", "--file", str(file), "rotate", old.id, "--overlap-days", "1"]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    new = ended.stdout.strip()

    async def taken() -> bool:
        return (await outcome(gateway, bearer(new)))[0] == "OK"

    await eventually(taken)
    assert (await outcome(gateway, bearer(gateway.key)))[0] == "OK"
    retired, added = KeysFile.load(file).keys
    assert (added.client, added.scopes) == (old.client, old.scopes)
    assert retired.id == old.id
    assert retired.expires is not None
    assert not retired.expired
