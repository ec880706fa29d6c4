"""gateway.workers.ports: ports that processes share, and others do not get."""

import socket

import pytest

from gateway.workers.ports import listening, reserved
from serving.transport.addresses import AddressTakenError


def test_reserved() -> None:
    """A reserved port is for who shares it, and is not reserved twice."""
    held, address = reserved("127.0.0.1:0")
    port = int(address.rpartition(":")[2])
    with held, socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", port))
        worker.listen()
        for taken in (reserved, listening):
            with pytest.raises(AddressTakenError, match=f"cannot listen on {address}"):
                taken(address)
        # What comes goes to who listens, and not to who merely holds the port.
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            worker.settimeout(5)
            worker.accept()[0].close()


@pytest.mark.parametrize("address", ["192.0.2.1:0", "127.0.0.1:99999", "no.such.host.invalid:1"])
def test_no_address_of_ours(address: str) -> None:
    """An address that cannot be is an error that names it."""
    with pytest.raises(AddressTakenError, match=address):
        reserved(address)
