"""How a client reaches the gateway, the same for the synchronous and the asynchronous one."""

from dataclasses import dataclass
from pathlib import Path

import grpc

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT = 10.0
OPTIONS = (
    # Predictions on large tensors are large; the gateway has the limits.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


@dataclass(frozen=True)
class Target:
    """An address with its security. `tls` is False, True (public authorities) or the path of a CA certificate."""

    address: str = DEFAULT_ADDRESS
    tls: bool | str | Path = False

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Credentials of the channel; None for plain text."""
        if not self.tls:
            return None
        roots = None if self.tls is True else Path(self.tls).read_bytes()
        return grpc.ssl_channel_credentials(root_certificates=roots)


def metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    """What identifies the caller."""
    return (("authorization", f"Bearer {key}"),) if key else ()
