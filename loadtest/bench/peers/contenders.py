"""Servers under comparison, ours and the peers', each from its start to its end."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import grpc
import numpy as np

from loadtest.bench.peers import protocols
from loadtest.bench.peers.catalog import PEERS, Peer
from loadtest.bench.peers.protocols import MODEL, Protocol
from serving.transport.default import installed_transports
from serving.wire.codec import Array
from stack.__main__ import free_port
from stack.processes import Child, ProcessError, child

# Importing TensorFlow alone takes seconds, and on a busy machine much more.
START_TIMEOUT = 300.0
_ASK_TIMEOUT = 20.0
# Of probabilities: decimals are rounded in JSON, and the gateway prepares an image in its own way.
_TOLERANCE = 0.01
_BATCHING = "--enable_batching"


@dataclass(frozen=True)
class Running:
    """A server that was started; `children` are its processes, without their own."""

    address: str
    children: tuple[Child, ...]
    version: str = ""


Start = Callable[[Path, Path], AbstractContextManager[Running]]
"""Runs a server of the model in one directory, with another for its logs; InstallError or ProcessError."""


@dataclass(frozen=True)
class Contender:
    """A server, and how it is asked."""

    name: str
    protocol: Protocol
    start: Start
    ours: bool = False


def contenders() -> Iterator[Contender]:
    """Ours, and then the peers."""
    for transport in installed_transports():
        name, flag = f"embedded server on {transport}", f"--transport={transport}"
        yield Contender(name, protocols.TFS, _embedded(flag), ours=True)
        yield Contender(f"{name}, batching", protocols.TFS, _embedded(flag, _BATCHING), ours=True)
    for transport in installed_transports():
        for protocol in (protocols.TFS, protocols.OIP, protocols.PNG):
            yield Contender(f"gateway on {transport} + embedded", protocol, _gateway(transport), ours=True)
    for peer in PEERS:
        yield Contender(peer.name, peer.protocol, _peer(peer))


def await_answer(contender: Contender, running: Running, image: Array, expected: Array | None) -> Array:
    """What a server that is starting answers for an image: `expected`, if that is known.

    Raises ProcessError if it ends, answers something else, or does not answer within START_TIMEOUT.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            answer = contender.protocol.ask(running.address, image, _ASK_TIMEOUT)
            break
        except (OSError, HTTPException, grpc.RpcError, ValueError, LookupError) as error:
            ended = [started for started in running.children if not started.running]
            if ended or time.monotonic() > deadline:
                said = ended[0].log.read_text(errors="replace") if ended else str(error)
                raise ProcessError(f"no answer: {' '.join(said.split())[-300:]}") from error
            time.sleep(1)
    if expected is not None and not np.allclose(answer, expected, atol=_TOLERANCE):
        raise ProcessError(f"answers {answer.round(3).tolist()}, not {expected.round(3).tolist()}")
    return answer


def _embedded(*flags: str) -> Start:
    @contextmanager
    def start(model: Path, scratch: Path) -> Iterator[Running]:
        port = free_port()
        command = ["serving.embedded", f"--port={port}", f"--model_name={MODEL}", f"--model_base_path={model.parent}"]
        log = scratch / "embedded.log"
        with child("the embedded server", [sys.executable, "-m", *command, *flags], log) as server:
            yield Running(f"127.0.0.1:{port}", (server,))

    return start


def _gateway(transport: str) -> Start:
    @contextmanager
    def start(model: Path, scratch: Path) -> Iterator[Running]:
        with ExitStack() as parts:
            backend = parts.enter_context(_embedded("--transport=grpc.aio", _BATCHING)(model, scratch))
            backend.children[0].wait_for("serving gRPC on ", START_TIMEOUT)
            port = free_port()
            command = [sys.executable, "-m", "gateway", f"--models={MODEL}", f"--transport={transport}"]
            command += [f"--listen=127.0.0.1:{port}", f"--http=127.0.0.1:{free_port()}", "--no-auth.enabled"]
            command += [f"--backend.address={backend.address}", "--drain.delay=0"]
            gateway = parts.enter_context(child("the gateway", command, scratch / "gateway.log"))
            yield Running(f"127.0.0.1:{port}", (*backend.children, gateway))

    return start


def _peer(peer: Peer) -> Start:
    @contextmanager
    def start(model: Path, scratch: Path) -> Iterator[Running]:
        version = peer.install()
        port = free_port()
        with child(peer.name, peer.command(port, model), scratch / f"{peer.script}.log") as server:
            try:
                yield Running(f"127.0.0.1:{port}", (server,), version)
            finally:
                server.stop()
                # Workers of several peers outlive their parent; they are in its process group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)

    return start
