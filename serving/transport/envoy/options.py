"""What can be set of Envoy."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EnvoyOptions:
    """What Envoy itself sees to: connections, their limits and their ends. Times are in seconds."""

    max_connections: int = 10_000
    max_streams: int = 1024
    """Calls at once on one connection."""
    max_header_bytes: int = 16 << 10
    """Of one request; rounded up to KiB."""
    idle_timeout: float = 3600.0
    """How long a connection without calls is kept."""
    ping_interval: float = 60.0
    """How long a connection may be silent before its other end is asked for a sign of life."""
    ping_timeout: float = 20.0
    """How long that sign may take, and likewise a request's headers, and reading what is left of an answer."""
    admin: str | None = None
    """host:port for Envoy's own pages, to be read alone."""
    shared: bool = False
    """Whether other processes of the same user may listen on the same ports, each for a part of the connections."""
    json_log: bool = True
    """Whether Envoy's own log lines are JSON."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificates and keys, in PEM."""

    key: bytes
    certificate: bytes
    """The server's, and those between it and the root."""
    client_ca: bytes | None = None
    """Signs the clients' certificates."""
    require_client_certificate: bool = False
    """Otherwise clients may have none, but none of another CA."""
