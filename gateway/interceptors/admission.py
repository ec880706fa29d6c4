"""No more calls at once than the gateway can hold: some wait their turn, the others are told so at once."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable

from gateway.call import Call
from gateway.errors import DeadlineExceeded, Overloaded
from gateway.interceptors.interceptor import Interceptor
from gateway.metrics import Metrics
from gateway.settings.guards import LimitSettings

# The least and the most seconds that a caller is told to stay away.
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 0.1, 10.0
# How much the latest call weighs in how long a call takes.
_WEIGHT = 0.05


class Admission(Interceptor):
    """Admits calls up to `max_concurrent_calls`; `max_waiting_calls` more wait, interactive ones before bulk.

    A call that could not be answered within its deadline, by how long calls have taken lately, does not wait. Streams
    have places of their own, `max_concurrent_streams`, so that idle ones keep no call out; they do not wait.
    """

    def __init__(self, settings: LimitSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self.replace(settings)
        # Keyed by identity: a call that was refused must not give back a place that it never had.
        self._admitted: dict[int, float] = {}
        """When each call was admitted, on the clock of time.monotonic."""
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._queues: dict[bool, deque[int]] = {False: deque(), True: deque()}
        """Who waits, in order, by whether the call is bulk."""
        self._streams: set[int] = set()
        self._bytes: dict[int, int] = {}
        self._bytes_in_flight = 0
        self._seconds = 0.0
        """How long a call has taken lately."""
        metrics.calls_waiting.set_function(lambda: len(self._waiting))

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._waiting)

    def replace(self, settings: LimitSettings) -> None:
        """Takes other settings from now on."""
        self._max_streams = settings.max_concurrent_streams
        self._limit = settings.max_concurrent_calls
        self._max_waiting = settings.max_waiting_calls
        self._max_bytes = settings.max_bytes_in_flight

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Takes a place, when there is one. Overloaded if there will be none, DeadlineExceeded if it came too late."""
        if call.streaming:
            if len(self._streams) >= self._max_streams:
                raise self._refused(f"{self._max_streams} streams are open")
            self._streams.add(id(call))
            return None
        if self._bytes_in_flight and self._bytes_in_flight + call.request_bytes > self._max_bytes:
            raise self._refused(f"requests of {self._bytes_in_flight} bytes are being answered")
        place = id(call)
        self._bytes[place] = call.request_bytes
        self._bytes_in_flight += call.request_bytes
        if len(self._admitted) < self._limit:
            self._admitted[place] = time.monotonic()
            return None
        wait = self._expected_wait(call)
        if call.deadline is not None and time.monotonic() + wait > call.deadline:
            raise self._refused("there would be no answer within the call's deadline")
        if len(self._waiting) >= self._max_waiting and not (not call.bulk and self._displace_bulk()):
            raise self._refused(f"{self._limit} calls are being answered and {len(self._waiting)} wait")
        turn = self._waiting[id(call)] = asyncio.get_running_loop().create_future()
        self._queues[call.bulk].append(id(call))
        return self._turn(call, turn)

    async def _turn(self, call: Call, turn: "asyncio.Future[None]") -> None:
        try:
            async with asyncio.timeout(None if call.deadline is None else call.deadline - time.monotonic()):
                await turn
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the call waited for its turn") from None

    def on_end(self, call: Call) -> None:
        """Gives the place back, to the next who waits."""
        place = id(call)
        if call.streaming:
            self._streams.discard(place)
        self._bytes_in_flight -= self._bytes.pop(place, 0)
        if self._waiting and self._waiting.pop(place, None) is not None:
            # Left before its turn.
            self._queues[call.bulk].remove(place)
        admitted = self._admitted.pop(place, None)
        if admitted is not None:
            self._seconds += _WEIGHT * (time.monotonic() - admitted - self._seconds)
            while self._waiting and len(self._admitted) < self._limit and self._admit_next():
                pass

    def _admit_next(self) -> bool:
        """Gives a place to who waits first; False if nobody waits."""
        for queue in self._queues.values():
            if queue:
                waiter = queue.popleft()
                self._admitted[waiter] = time.monotonic()
                turn = self._waiting.pop(waiter)
                # One that is being cancelled passes the place on when it ends.
                if not turn.done():
                    turn.set_result(None)
                return True
        return False

    def _displace_bulk(self) -> bool:
        """Sends away the bulk call that came last; False if none waits."""
        if not self._queues[True]:
            return False
        turn = self._waiting.pop(self._queues[True].pop())
        if not turn.done():
            turn.set_exception(self._refused("interactive calls go first"))
        return True

    def _expected_wait(self, call: Call) -> float:
        ahead = len(self._queues[False]) + (len(self._queues[True]) if call.bulk else 0)
        return (ahead + 1) * self._seconds / self._limit

    def _refused(self, why: str) -> Overloaded:
        self._metrics.rejections.labels("OVERLOADED", "gateway").inc()
        wait = (len(self._waiting) + 1) * self._seconds / self._limit
        return Overloaded(
            f"the gateway has as much to do as it can hold: {why}; retry later",
            retry_after=min(max(wait, MIN_RETRY_AFTER), MAX_RETRY_AFTER),
        )
