"""stack.processes"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.processes import Child, ProcessError, child

PYTHON = [sys.executable, "-u", "-c"]
SOON = 20.0


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_ready_line(tmp_path: Path) -> None:
    """The line with the marker is returned once it is whole."""
    with child("x", [*PYTHON, "print('ready at 7'); import time; time.sleep(60)"], tmp_path / "log") as process:
        assert process.wait_for("ready", SOON) == "ready at 7\n"
        assert process.running
    assert not process.running


def test_ends_early(tmp_path: Path) -> None:
    """A child that ends before it is ready is reported with its status and its last lines."""
    process = Child("the thing", [*PYTHON, "print('why'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(ProcessError, match=r"the thing ended with status 3:\n    why"):
        process.wait_for("ready", SOON)


def test_never_ready(tmp_path: Path) -> None:
    """A child that is not ready in time is reported, and ended with its context."""
    with (
        pytest.raises(ProcessError, match="was not ready within 0 s"),
        child("x", [*PYTHON, "import time; time.sleep(60)"], tmp_path / "log") as process,
    ):
        process.wait_for("ready", 0.2)
    assert not process.running


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where the kernel tells a child that its parent died")
def test_dies_with_parent(tmp_path: Path) -> None:
    """Should the parent be killed, its child ends too."""
    program = (
        "import sys, time; from pathlib import Path; from stack.processes import Child\n"
        f"c = Child('c', [sys.executable, '-c', 'import time; time.sleep(60)'], Path({str(tmp_path / 'log')!r}))\n"
        "print(c.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([*PYTHON, program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert alive(pid)
    # Until the child has asked the kernel for it, nothing would end it.
    time.sleep(0.5)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + SOON
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_start_again(tmp_path: Path) -> None:
    """A child that has ended can be started again; its log goes on."""
    with child("x", [*PYTHON, "import os; print('pid', os.getpid())"], tmp_path / "log") as process:
        first = process.wait_for("pid", SOON)
        process.stop()
        process.start()
        assert process.wait_for(f"pid {process.pid}\n", SOON) != first
    assert process.log.read_text().startswith(first)
