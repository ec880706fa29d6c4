"""Child processes that write a log, say when they are ready, and never outlive their parent."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

STOP_TIMEOUT = 40.0
_POLL = 0.05
_LAUNCH = Path(__file__).with_name("launch.py")


class ProcessError(Exception):
    """A child process ended, or did not get ready in time."""


class Child:
    """A running child; its output goes to `log`."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        self.start()

    def start(self) -> None:
        """Starts the process, again if it has ended; its log goes on."""
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the parent alone, which then ends its children in order.
            self._process = subprocess.Popen(
                _ending_with_us(self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait_for(self, marker: str, timeout: float) -> str:
        """The first log line that contains `marker`; ProcessError if the process ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running
            lines = self.log.read_text(errors="replace").splitlines(keepends=True)
            for line in lines:
                # A line without its end is still being written.
                if marker in line and line.endswith("\n"):
                    return line
            if ended:
                raise ProcessError(f"{self.name} ended with status {self._process.returncode}:\n{_tail(lines)}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready within {timeout:.0f} s:\n{_tail(lines)}")
            time.sleep(_POLL)

    def stop(self) -> int:
        """Ends the process, at first politely, and returns its exit status."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextlib.contextmanager
def child(name: str, arguments: Sequence[str], log: Path) -> Iterator[Child]:
    """A child that is ended when the context is left."""
    started = Child(name, arguments, log)
    try:
        yield started
    finally:
        started.stop()


def _ending_with_us(arguments: Sequence[str]) -> Sequence[str]:
    """The command by which the kernel ends the child should this process be killed, where there is a way."""
    program = shutil.which(arguments[0])
    if sys.platform != "linux" or program is None:
        return arguments
    return [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), program, *arguments[1:]]


def _tail(lines: Sequence[str]) -> str:
    return "".join(f"    {line}" for line in lines[-15:]).rstrip()
