"""A Locust user that speaks gRPC: closed loop, or open loop with latency counted from when a call was due."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gevent.pool
import grpc
import grpc.experimental.gevent
from locust import User

from loadtest.connection import connect, headers

# Before any channel is made: gRPC's own threads and gevent's greenlets would block one another.
grpc.experimental.gevent.init_gevent()

OK = "OK"
# Calls that an open-loop user may have under way; what is due beyond that is counted as failed.
MAX_IN_FLIGHT = 256


class CallFailed(Exception):
    """A call ended with another status than was expected, or with another answer."""


@dataclass(frozen=True)
class Request:
    """One call: unary, or of a stream in both directions if there are several messages."""

    name: str
    """What it is reported under."""
    method: str
    message: bytes | Sequence[bytes]
    expected: str = OK
    """The status that it must end with."""
    check: Callable[[Sequence[bytes]], str | None] = lambda _: None
    """Says what is wrong with the answers, of which a unary call has one."""
    then: "Callable[[Sequence[bytes]], Request | None]" = lambda _: None
    """What is sent after good answers."""


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
        self._channel = connect(self.host or "", options)
        self._metadata = headers(options)
        self._methods: dict[str, Callable[..., Sequence[bytes]]] = {}
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
            method = self._methods[request.method] = self._method(request)
        code, details = OK, ""
        answers: Sequence[bytes] = ()
        try:
            answers = method(request.message, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
        failure = None
        if code != request.expected:
            failure = CallFailed(f"{code}: {details[:200]}")
        elif code == OK and (wrong := request.check(answers)):
            code, failure = "WRONG_ANSWER", CallFailed(wrong)
        self._report(request.name, due, code, sum(map(len, answers)), failure)
        if failure is None and code == OK and (follow := request.then(answers)):
            self._timed(follow, time.perf_counter())

    def _method(self, request: Request) -> Callable[..., Sequence[bytes]]:
        """A call of the request's kind that gives its answers."""
        if isinstance(request.message, bytes):
            unary: Any = self._channel.unary_unary(request.method)
            return lambda message, **options: (unary(message, **options),)
        stream: Any = self._channel.stream_stream(request.method)
        return lambda messages, **options: list(stream(iter(messages), **options))

    def _report(self, name: str, due: float, code: str, size: int, failure: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - due) * 1e3,
            response_length=size,
            exception=failure,
            context={"code": code},
        )
