"""How a call ends before, or instead of, its method's answer."""

import grpc


class CallError(Exception):
    """The call ends with `code` and `details`."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class ClientGoneError(ConnectionError):
    """The client has reset the stream or closed the connection: nobody is left to answer."""
