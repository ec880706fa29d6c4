"""A Locust user that speaks gRPC: closed loop, or open loop with latency counted from when a call was due."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent.pool
import grpc
import grpc.experimental.gevent
from locust import User

from tensorgate.channel import OPTIONS, Target, metadata

# Before any channel is made: gRPC's own threads and gevent's greenlets would block one another.
grpc.experimental.gevent.init_gevent()

OK = "OK"
# Calls that an open-loop user may have under way; what is due beyond that is counted as failed.
MAX_IN_FLIGHT = 256


class CallFailed(Exception):
    """A call ended with another status than was expected, or with another answer."""


@dataclass(frozen=True)
class Request:
    """One unary call."""

    name: str
    """What it is reported under."""
    method: str
    message: bytes
    expected: str = OK
    """The status that it must end with."""
    check: Callable[[bytes], str | None] = lambda _: None
    """Says what is wrong with the answer."""


class GrpcUser(User):
    """One client with a connection of its own.

    With `rate_per_user` 0 it calls again as soon as it is answered (closed loop). Otherwise calls become due at random
    (Poisson) at that rate, whether or not earlier ones are answered (open loop), and a call's time counts from when it
    was due, not from when this process came to send it: no coordinated omission.
    """

    abstract = True

    def on_start(self) -> None:
        """Connects."""
        options = self.environment.parsed_options
        self._timeout: float = options.timeout
        self._rate: float = options.rate_per_user
        self._channel = connect(self.host or "", options.ca_file)
        self._metadata = metadata(options.key)
        self._methods: dict[str, Any] = {}
        self._pool = gevent.pool.Pool(MAX_IN_FLIGHT)
        self._due = time.perf_counter()

    def on_stop(self) -> None:
        """Waits for the answers that are still to come."""
        self._pool.join(timeout=self._timeout)
        self._channel.close()

    def wait_time(self) -> float:
        """Seconds until the next call is due."""
        if not self._rate:
            return 0.0
        self._due += random.expovariate(self._rate)
        return max(0.0, self._due - time.perf_counter())

    def call(self, request: Request) -> None:
        """Sends it, and reports to Locust how that ended."""
        if not self._rate:
            self._timed(request, time.perf_counter())
        elif self._pool.full():
            self._report(request.name, self._due, "NOT_SENT", 0, CallFailed(f"{MAX_IN_FLIGHT} calls are under way"))
        else:
            self._pool.spawn(self._timed, request, self._due)

    def _timed(self, request: Request, due: float) -> None:
        method = self._methods.get(request.method)
        if method is None:
            method = self._methods[request.method] = self._channel.unary_unary(request.method)
        code, details, answer = OK, "", b""
        try:
            answer = method(request.message, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
        failure = None
        if code != request.expected:
            failure = CallFailed(f"{code}: {details[:200]}")
        elif code == OK and (wrong := request.check(answer)):
            code, failure = "WRONG_ANSWER", CallFailed(wrong)
        self._report(request.name, due, code, len(answer), failure)

    def _report(self, name: str, due: float, code: str, size: int, failure: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - due) * 1e3,
            response_length=size,
            exception=failure,
            context={"code": code},
        )


def connect(address: str, ca_file: str | None) -> grpc.Channel:
    """A channel that shares no connection with others; encrypted if there is a certificate to trust."""
    options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    credentials = Target(address, Path(ca_file) if ca_file else False).credentials()
    return (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
