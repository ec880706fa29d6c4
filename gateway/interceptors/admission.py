"""No more calls at once than the gateway can hold: the next is told so at once instead of waiting without end."""

from gateway.call import Call
from gateway.errors import Overloaded
from gateway.interceptors.interceptor import Interceptor

RETRY_AFTER = 0.1


class Admission(Interceptor):
    """Admits up to `max_calls` calls and `max_streams` streams at once, so that idle streams keep no call out."""

    def __init__(self, max_calls: int, max_streams: int) -> None:
        # Keyed by identity: a call that was refused must not give back a place that it never had.
        self._calls: set[int] = set()
        self._streams: set[int] = set()
        self._max_calls, self._max_streams = max_calls, max_streams

    async def on_start(self, call: Call) -> None:
        """Takes a place; Overloaded if there is none."""
        admitted, limit, what = (
            (self._streams, self._max_streams, "serving {} streams")
            if call.streaming
            else (self._calls, self._max_calls, "answering {} calls")
        )
        if len(admitted) >= limit:
            raise Overloaded(
                f"the gateway is {what.format(limit)}, as many as it may at once; retry later",
                retry_after=RETRY_AFTER,
            )
        admitted.add(id(call))

    def on_end(self, call: Call) -> None:
        """Gives the place back."""
        (self._streams if call.streaming else self._calls).discard(id(call))
