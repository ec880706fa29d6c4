"""A server of the model `wire`, a gateway in front of it, each on both transports, and TensorFlow Serving's own client.

The suite asks the server at TENSORGATE_TFS_ADDRESS (host:port), and over REST at TENSORGATE_TFS_REST_ADDRESS, if these
are set. It is to serve, as the model `wire` and with default flags, what `python -m tests.contract.models DIRECTORY`
wrote: for TensorFlow Serving `--model_name=wire --model_base_path=DIRECTORY --rest_api_port=8501`. Otherwise an
embedded server is started.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.auth.keys import KeysFile, create
from stack.processes import Child, child
from tests.contract import models
from tests.contract.client import TIMEOUT, Client

Start = Callable[..., tuple[Child, str]]


@contextlib.contextmanager
def servers(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Start]:
    """Starts embedded servers, which end with the context."""
    if transport == "envoy":
        pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    with ExitStack() as children:

        def start(base: Path | None, *flags: str) -> tuple[Child, str]:
            command = [sys.executable, "-m", "serving.embedded", "--port=0", f"--transport={transport}", *flags]
            if base:
                command += ["--model_name=wire", f"--model_base_path={base}"]
            log = tmp_path_factory.mktemp("server") / "log"
            process = children.enter_context(child("the server", command, log))
            return process, process.wait_for("serving gRPC on ", TIMEOUT).split()[-1]

        yield start


@pytest.fixture(scope="module", params=["grpc.aio", "envoy"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the calls of the servers that a module starts."""
    return str(request.param)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Start]:
    """Starts embedded servers, of `wire` at a base path or as flags say; gives the process and its address."""
    with servers(tmp_path_factory, transport) as start:
        yield start


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with the model `wire`; a server elsewhere has a copy."""
    base = tmp_path_factory.mktemp("wire")
    models.write_wire(base / "1")
    return base


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[tuple[Child, str]]:
    """An embedded server of `wire`, with REST."""
    with servers(tmp_path_factory, "grpc.aio") as start:
        yield start(base, "--rest_api_port=auto")


@pytest.fixture(scope="session")
def embedded_inside_envoy(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[tuple[Child, str]]:
    """An embedded server of `wire` on the other transport."""
    with servers(tmp_path_factory, "envoy") as start:
        yield start(base)


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> str:
    """The address of the server that is on trial."""
    return os.environ.get("TENSORGATE_TFS_ADDRESS") or request.getfixturevalue("embedded")[1]


@pytest.fixture(scope="session")
def gateway(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and key of a gateway in front of the server that is on trial."""
    with gateways(address, tmp_path_factory, "grpc.aio") as found:
        yield found


@pytest.fixture(scope="session")
def gateway_inside_envoy(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The same on the other transport."""
    pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
    with gateways(address, tmp_path_factory, "envoy") as found:
        yield found


@contextlib.contextmanager
def gateways(address: str, tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[tuple[str, str]]:
    """Address and key of a gateway in front of a server."""
    directory = tmp_path_factory.mktemp("gateway")
    key, record = create("tester", frozenset({"predict:*"}))
    KeysFile(keys=[record]).save(directory / "keys.json")
    command = [sys.executable, "-m", "gateway", "--models=wire", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"]
    command += [
        f"--transport={transport}",
        f"--backend.address={address}",
        f"--auth.keys-file={directory / 'keys.json'}",
        "--drain.delay=0",
    ]
    with child("the gateway", command, directory / "log") as process:
        yield json.loads(process.wait_for('"event": "serving"', TIMEOUT))["grpc"], key


@pytest.fixture(scope="session", params=["server", "server inside Envoy", "gateway", "gateway inside Envoy"])
def client(address: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server that is on trial, of the gateway, and of both on the other transport: none may differ."""
    target: tuple[str, str | None] = (address, None)
    if request.param.startswith("gateway"):
        target = request.getfixturevalue(request.param.replace(" ", "_").lower())
    elif request.param == "server inside Envoy":
        if "TENSORGATE_TFS_ADDRESS" in os.environ:
            pytest.skip("the server at TENSORGATE_TFS_ADDRESS has one transport")
        target = (request.getfixturevalue("embedded_inside_envoy")[1], None)
    with Client(*target) as client:
        yield client


@pytest.fixture(scope="session")
def rest_address(request: pytest.FixtureRequest) -> str:
    """Where the server that is on trial speaks REST."""
    if "TENSORGATE_TFS_ADDRESS" in os.environ:
        if "TENSORGATE_TFS_REST_ADDRESS" not in os.environ:
            pytest.skip("TENSORGATE_TFS_REST_ADDRESS is not set")
        return os.environ["TENSORGATE_TFS_REST_ADDRESS"]
    return request.getfixturevalue("embedded")[0].wait_for("serving REST on ", TIMEOUT).split()[-1]
