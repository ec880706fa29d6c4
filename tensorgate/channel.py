"""How a client reaches the gateway, the same for the synchronous and the asynchronous one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT = 10.0
_NAME = re.compile(r"(?!.*-bin$)[a-z0-9_.-]+")
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


def metadata(key: str | None, more: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """What identifies the caller, and `more` of each call; ValueError for what gRPC cannot send."""
    found = [("authorization", f"Bearer {key}")] if key else []
    for name, value in (more or {}).items():
        # gRPC says no more than that some of it is illegal.
        if not _NAME.fullmatch(name.lower()) or not (value.isascii() and value.isprintable()):
            raise ValueError(
                f"the metadata {name!r} cannot be sent: expected [a-z0-9_.-], no -bin, and printable ASCII"
            )
        found.append((name.lower(), value))
    return tuple(found)
