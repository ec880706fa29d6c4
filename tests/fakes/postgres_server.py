"""A real PostgreSQL server on a Unix socket, which can be killed and started again."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TIMEOUT = 60.0 * float(os.environ.get("TENSORGATE_TEST_TIMEOUT_SCALE", "1"))


class PostgresServer:
    """Debian's PostgreSQL with one empty database, `postgres`."""

    def __init__(self, directory: Path, programs: Path, options: dict[str, Any]) -> None:
        self._directory = directory
        self._programs = programs
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "tester", "-E", "UTF8", "-D", str(directory / "data"))
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Where libpq finds a database."""
        return f"postgresql://tester@/{database}?host={self._directory}"

    def create(self, database: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", str(self._directory), "-U", "tester", database)
        return self.url(database)

    def start(self) -> None:
        """Starts it and returns when it answers."""
        log = self._directory / "log"
        command = [self._programs / "postgres", "-D", self._directory / "data", "-k", self._directory]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "-c", "listen_addresses="], stdout=output, stderr=output, cwd="/", **self._options
            )
        deadline = time.monotonic() + TIMEOUT
        while "ready to accept connections" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()[-1000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """Breaks every connection at once; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=TIMEOUT, **self._options)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that ends with the context; skips the test where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/none").parent]
    if not (found[-1] / "initdb").exists():
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    # It refuses to run as root, and cannot look into pytest's directories as anybody else.
    root = os.geteuid() == 0
    options = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if root else {}
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if root:
            shutil.chown(directory, "nobody")
        server = PostgresServer(directory, found[-1], options)
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(directory)
