"""HTTP/2 without good manners."""

import socket

import h2.config
import h2.connection
import h2.events

from tests.fakes.transport_service import SERVICE
from tests.integration.conftest import TIMEOUT


class Raw:
    """An HTTP/2 client that sends what it is told to."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        config = h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()

    def call(self, name: str, body: bytes = b"", *, end: bool = True, **headers: str) -> int:
        """Begins a call."""
        stream = self.connection.get_next_available_stream_id()
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "x",
            ":path": f"/{SERVICE}/{name}",
            "content-type": "application/grpc",
            "te": "trailers",
        } | {key.replace("_", "-"): value for key, value in headers.items()}
        self.connection.send_headers(stream, list(fields.items()), end_stream=not body and end)
        if body:
            self.connection.send_data(stream, body, end_stream=end)
        return stream

    def flush(self) -> None:
        """Sends what is to be sent."""
        self._socket.sendall(self.connection.data_to_send())

    def answer(self, stream: int) -> dict[str, str]:
        """The response's headers and trailers, or what ended the stream otherwise."""
        self.flush()
        found: dict[str, str] = {}
        while True:
            data = self._socket.recv(65536)
            if not data:
                return found | {"closed": "1"}
            for event in self.connection.receive_data(data):
                if getattr(event, "stream_id", stream) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    found |= {key.decode(): value.decode() for key, value in event.headers}
                elif isinstance(event, h2.events.StreamReset):
                    return found | {"reset": str(event.error_code)}
                elif isinstance(event, h2.events.StreamEnded):
                    return found
                elif isinstance(event, h2.events.ConnectionTerminated):
                    return found | {"goaway": str(event.error_code)}
            self.flush()

    def close(self) -> None:
        """Leaves without a word."""
        self._socket.close()
