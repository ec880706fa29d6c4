"""No more calls at once than the gateway can hold: the next is told so at once instead of waiting without end."""

from gateway.call import Call
from gateway.errors import Overloaded

RETRY_AFTER = 0.1


class Admission:
    """Admits up to `max_concurrent_calls` at once."""

    def __init__(self, max_concurrent_calls: int) -> None:
        self._limit = max_concurrent_calls
        # Keyed by identity: a call that was refused must not give back a place that it never had.
        self._admitted: set[int] = set()

    async def on_start(self, call: Call) -> None:
        """Takes a place; Overloaded if there is none."""
        if len(self._admitted) >= self._limit:
            raise Overloaded(
                f"the gateway is answering {self._limit} calls, as many as it may at once; retry later",
                retry_after=RETRY_AFTER,
            )
        self._admitted.add(id(call))

    def on_end(self, call: Call) -> None:
        """Gives the place back."""
        self._admitted.discard(id(call))
