"""Ports that several processes share."""

import socket
from typing import Any

from serving.transport.addresses import AddressTakenError


def reserved(address: str) -> tuple[socket.socket, str]:
    """A socket that keeps `host:port` for those of this user who bind it too, and the address with its port.

    It does not listen. AddressTakenError if somebody else has it.
    """
    family, place = _resolved(address)
    # By itself first: another gateway that shares its port with its own workers would share it with ours.
    with _bound(family, place, address, shared=False) as probe:
        port = probe.getsockname()[1]
    held = _bound(family, (place[0], port, *place[2:]), address, shared=True)
    return held, f"{address.rpartition(':')[0]}:{port}"


def listening(address: str) -> socket.socket:
    """A socket that listens on `host:port`. AddressTakenError."""
    family, place = _resolved(address)
    made = _bound(family, place, address, shared=False)
    made.listen()
    made.setblocking(False)
    return made


def _resolved(address: str) -> tuple[socket.AddressFamily, Any]:
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, place = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise AddressTakenError.of(address) from error
    return family, (place[0], int(port), *place[2:])


def _bound(family: socket.AddressFamily, place: Any, address: str, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(place)
    except (OSError, OverflowError) as error:
        made.close()
        raise AddressTakenError.of(address) from error
    return made
