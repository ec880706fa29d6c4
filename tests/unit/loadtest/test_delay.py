"""loadtest.delay"""

import socket
import threading
import time

from loadtest.delay import delayed


def test_round_trip() -> None:
    """What is sent comes back whole, later by the delay, and several times in one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        with (
            delayed(f"127.0.0.1:{listener.getsockname()[1]}", 0.1) as address,
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10) as connection,
        ):
            for _ in range(2):
                started = time.monotonic()
                connection.sendall(b"ping")
                assert connection.recv(4) == b"ping"
                assert time.monotonic() - started >= 0.1
        thread.join(10)
        assert not thread.is_alive()
