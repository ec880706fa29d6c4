"""HTTP/2 without good manners."""

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from tests.fakes.transport_service import SERVICE
from tests.integration.conftest import TIMEOUT

Headers = list[tuple[str, str]]


@dataclass
class Response:
    """What came back on one stream."""

    headers: Headers = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    end: str = ""
    """How the stream ended: `trailers` or `headers` or `data`, `reset`, `goaway` or `closed`."""
    code: int = 0
    """HTTP/2's error, of a reset and of goaway."""
    reset: int | None = None
    """HTTP/2's error of a reset, after the end too."""

    @property
    def status(self) -> dict[str, str]:
        """Headers and trailers by name, and how the stream ended if not well."""
        found = dict(self.headers) | dict(self.trailers)
        return found | ({} if self.end in ("trailers", "headers", "data") else {self.end: str(self.code)})


class Raw:
    """An HTTP/2 client that sends what it is told to."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        config = h2.config.H2Configuration(
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            split_outbound_cookies=False,
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.responses: defaultdict[int, Response] = defaultdict(Response)
        """By stream, as far as they have come."""
        self.pings: list[bytes] = []
        """What answers to pings held."""
        self.goaway = False
        """Whether the server takes no more calls here."""
        self.ended = ""
        """How the connection ended: `goaway`, which was for an error, or `closed`."""
        self.error = 0

    def call(self, name: str, body: bytes = b"", *, end: bool = True, **headers: str | None) -> int:
        """Begins a call; a header that is None is left out."""
        return self.request({key.replace("_", "-"): value for key, value in headers.items()}, name, body, end=end)

    def request(
        self,
        headers: dict[str, str | None] | None = None,
        name: str = "Echo",
        body: bytes = b"",
        more: Iterable[tuple[str, str]] = (),
        *,
        end: bool = True,
    ) -> int:
        """Begins a call with headers of any name, and then `more`."""
        stream = self.connection.get_next_available_stream_id()
        fields: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "x",
            ":path": f"/{SERVICE}/{name}",
            "content-type": "application/grpc",
            "te": "trailers",
        } | (headers or {})
        sent = [(key, value) for key, value in fields.items() if value is not None]
        self.connection.send_headers(stream, [*sent, *more], end_stream=not body and end)
        if body:
            self.connection.send_data(stream, body, end_stream=end)
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Sends a DATA frame."""
        self.connection.send_data(stream, body, end_stream=end)
        self.flush()

    def flush(self) -> None:
        """Sends what is to be sent."""
        self._socket.sendall(self.connection.data_to_send())

    def raw(self, data: bytes) -> None:
        """Sends bytes that h2 would not."""
        self.flush()
        self._socket.sendall(data)

    def answer(self, stream: int) -> dict[str, str]:
        """The response's headers and trailers, or what ended the stream otherwise."""
        return self.response(stream).status

    def response(self, stream: int) -> Response:
        """The response, as soon as it has ended."""
        self.until(lambda: self.responses[stream].end or self.ended)
        found = self.responses[stream]
        if not found.end:
            found.end, found.code = self.ended, self.error
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Reads until something holds, or nothing more can come."""
        self.flush()
        while not condition() and self.ended != "closed":
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = "closed"
                return
            for event in self.connection.receive_data(data):
                self._take(event)
            self.flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pings.append(event.ping_data)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = True
            # Without an error the calls under way go on.
            if event.error_code:
                self.ended, self.error = "goaway", int(event.error_code)
        found = self.responses[getattr(event, "stream_id", None) or 0]
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            headers = [(key.decode(), value.decode("latin-1")) for key, value in event.headers]
            kind = "headers" if isinstance(event, h2.events.ResponseReceived) else "trailers"
            setattr(found, kind, headers)
            if event.stream_ended:
                found.end = kind
        elif isinstance(event, h2.events.DataReceived):
            found.body += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            found.reset = int(event.error_code)
            if not found.end:
                found.end, found.code = "reset", found.reset
        elif isinstance(event, h2.events.StreamEnded) and not found.end:
            found.end = "data"

    def close(self) -> None:
        """Leaves without a word."""
        self._socket.close()
