"""What an interceptor may do; each overrides what concerns it."""

from gateway.call import Call


class Interceptor:
    """One concern around every call."""

    async def on_start(self, call: Call) -> None:
        """Before the servicer; a GatewayError refuses the call."""

    async def on_message(self, call: Call) -> None:
        """Before each message of a stream is parsed; a GatewayError ends the stream."""

    def on_end(self, call: Call) -> None:
        """After the servicer, whatever came of it, if `on_start` was reached; `call` says how it ended."""
