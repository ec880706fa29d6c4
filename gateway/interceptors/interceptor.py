"""What an interceptor may do; each overrides what concerns it."""

from collections.abc import Awaitable

from gateway.call import Call


class Interceptor:
    """One concern around every call. What takes time returns an awaitable; most does not, and awaiting costs."""

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Before the servicer; a GatewayError refuses the call."""

    def on_message(self, call: Call) -> Awaitable[None] | None:
        """Before each message of a stream is parsed; a GatewayError ends the stream."""

    def on_end(self, call: Call) -> None:
        """After the servicer, whatever came of it, if `on_start` was reached; `call` says how it ended."""
