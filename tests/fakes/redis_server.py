"""A real redis-server on a socket file, which can be stopped, frozen and started again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest


class RedisServer:
    """Debian's redis-server, without a port or a file of data."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("needs redis-server (Debian: redis-server)")
        self._socket = directory / "redis.sock"
        self._command = [
            program,
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--save",
            "",
            "--dir",
            str(directory),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Starts it and returns when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._socket.exists():
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kills it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Lets it answer nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
