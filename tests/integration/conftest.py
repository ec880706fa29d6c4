"""A real gateway process in front of a fake model server, each on a port of its own."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.auth.keys import KeysFile, create
from stack.processes import Child, child
from tensorgate import AsyncClient
from tests.fakes import digits
from tests.fakes.model_server import FakeModel, FakeModelServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Scaled up where the machine is slow or shared.
TIMEOUT = 20.0 * float(os.environ.get("TENSORGATE_TEST_TIMEOUT_SCALE", "1"))
# For a gateway to see its models, when a test gives it some.
READY = TIMEOUT / 10


class Gateway:
    """A running gateway."""

    def __init__(self, process: Child, serving: dict[str, Any], keys_file: Path, key: str) -> None:
        self.process = process
        self.address: str = serving["grpc"]
        self.http: str = serving["http"]
        self.keys_file = keys_file
        self.key = key

    def client(self, **options: Any) -> AsyncClient:
        """A client with the gateway's key."""
        return AsyncClient(self.address, **{"key": self.key, "timeout": TIMEOUT} | options)

    def log(self) -> list[dict[str, Any]]:
        """The log so far; every line is JSON."""
        # Not by splitlines: a text may hold other characters that it takes for ends of lines.
        return [json.loads(line) for line in self.process.log.read_text().split("\n") if line]

    def calls(self) -> list[dict[str, Any]]:
        """The access lines so far."""
        return [line for line in self.log() if line["event"] == "call"]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page on the HTTP port."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=TIMEOUT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


StartGateway = Callable[..., Gateway]
# For tests that make no gRPC call of a gateway: what carries calls is nothing to them.
on_one_transport = pytest.mark.parametrize("transport", ["grpc.aio"], indirect=True)


@pytest.fixture(scope="module", params=["grpc.aio", "envoy"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the gateway's calls."""
    if request.param == "envoy":
        pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    return str(request.param)


@contextlib.contextmanager
def gateways(tmp_path: Path, transport: str) -> Iterator[StartGateway]:
    """Starts gateways, which end with the context."""
    with ExitStack() as children:

        def start(
            backend: str, *flags: str, models: str | None = "digits", scopes: tuple[str, ...] = ("predict:*",)
        ) -> Gateway:
            number = len(list(tmp_path.glob("*.log")))
            key, record = create("tester", frozenset(scopes))
            keys_file = tmp_path / f"keys-{number}.json"
            KeysFile(keys=[record]).save(keys_file)
            command = [
                sys.executable,
                "-m",
                "gateway",
                f"--transport={transport}",
                *([f"--models={models}"] if models else []),
                "--listen=127.0.0.1:0",
                "--http=127.0.0.1:0",
                f"--backend.address={backend}",
                "--backend.poll-interval=0.1",
                f"--auth.keys-file={keys_file}",
                "--drain.delay=0",
                "--log.calls-per-second=1000000",
                *flags,
            ]
            process = children.enter_context(child("the gateway", command, tmp_path / f"gateway-{number}.log"))
            serving = json.loads(process.wait_for('"event": "serving"', TIMEOUT))
            gateway = Gateway(process, serving, keys_file, key)
            # On a busy machine its ports open before it has seen its models; some tests give it none to see.
            deadline = time.monotonic() + READY
            with contextlib.suppress(http.client.HTTPException):  # where the page wants TLS
                while gateway.get("/readyz")[0] != 200 and time.monotonic() < deadline:
                    time.sleep(0.05)
            return gateway

        yield start


@contextlib.contextmanager
def digits_server() -> Iterator[FakeModelServer]:
    """A fake model server with the model `digits` and its contract."""
    fake = FakeModelServer(digits=FakeModel(contract=digits.contract().model_dump_json()))
    fake.start()
    try:
        yield fake
    finally:
        fake.close()


@pytest.fixture
def start_gateway(tmp_path: Path, transport: str) -> Iterator[StartGateway]:
    """Starts gateways, which end with the test."""
    with gateways(tmp_path, transport) as start:
        yield start


@pytest.fixture
def server() -> Iterator[FakeModelServer]:
    """A fake model server for one test."""
    with digits_server() as fake:
        yield fake


@pytest.fixture
def gateway(server: FakeModelServer, start_gateway: StartGateway) -> Gateway:
    """A gateway for one test, in front of `server`."""
    return start_gateway(server.address)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeModelServer]:
    """A fake model server that the tests of a module share."""
    with digits_server() as fake:
        yield fake


@pytest.fixture(scope="module")
def shared_gateway(
    shared_server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[Gateway]:
    """A gateway that the tests of a module share, in front of `shared_server`."""
    with gateways(tmp_path_factory.mktemp("gateway"), transport) as start:
        yield start(shared_server.address)


async def eventually(condition: Callable[[], Awaitable[Any]], message: str = "never came true") -> Any:
    """The first true value of `condition`, asked again and again until TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < deadline, message
        await asyncio.sleep(0.05)


async def ready(gateway: Gateway) -> Gateway:
    """The gateway as soon as it has seen its models: on a busy machine its ports open before."""

    async def is_ready() -> bool:
        return (await asyncio.to_thread(gateway.get, "/readyz"))[0] == 200

    await eventually(is_ready)
    return gateway


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium without a screen."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # few tests need it

    with sync_playwright() as playwright:
        # Chromium's sandbox cannot be had by root or in most containers; the pages here are our own.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
