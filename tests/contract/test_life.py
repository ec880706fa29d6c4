"""The embedded server over its life: versions come and go while it is called, and it leaves in order."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stack.processes import Child, child
from tests.contract import models
from tests.contract.client import TIMEOUT, Client, eventually, predict_request

Start = Callable[..., tuple[Child, str]]
X = {"x": np.array([[4]], np.float32)}


def test_new_version(start: Start, tmp_path: Path) -> None:
    """A new version, be it of TF1, takes over while calls go on and none fails; a half-written one does not."""
    models.write_half_plus_two(tmp_path / "base/1")
    models.write_tf1_half_plus_two(tmp_path / "2")
    _, address = start(tmp_path / "base")
    answers: Counter[tuple[int, float]] = Counter()
    failures: list[Exception] = []
    done = threading.Event()

    def call() -> None:
        with Client(address) as client:
            while not done.is_set():
                try:
                    response = client.predict(X)
                except Exception as error:
                    failures.append(error)
                else:
                    answers[response.model_spec.version.value, response.outputs["y"].float_val[0]] += 1

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        with Client(address) as client:
            eventually(lambda: answers[1, 4.0])
            (tmp_path / "base/3/variables").mkdir(parents=True)
            (tmp_path / "2").rename(tmp_path / "base/2")
            eventually(lambda: client.states() == {1: "END", 2: "AVAILABLE"} and answers[2, 4.0])
    finally:
        done.set()
        for caller in callers:
            caller.join(TIMEOUT)
    assert not failures
    assert answers.keys() == {(1, 4.0), (2, 4.0)}


def test_drain(start: Start, base: Path) -> None:
    """After SIGTERM a call in flight finishes, and the server ends with status 0."""
    server, address = start(base)
    with Client(address) as client:
        began = time.monotonic()
        client.predict({"steps": np.int32(10_000)}, signature_name="count")
        steps = int(10_000 * 2 / (time.monotonic() - began))
        request = predict_request({"steps": np.int32(steps)}, signature_name="count")
        call = client.predictions.Predict.future(request, timeout=TIMEOUT)
        # On one connection calls arrive in order: when this one is answered the other has begun.
        client.states()
        os.kill(server.pid, signal.SIGTERM)
        server.wait_for("stopping", TIMEOUT)
        assert not call.done()
        assert call.result().outputs["steps"].int_val == [steps]
        # A second signal, while the interpreter ends, would change the status.
        eventually(lambda: not server.running)
    assert server.stop() == 0


def test_stopped_while_it_loads(base: Path, tmp_path: Path, transport: str) -> None:
    """Before it serves a signal ends it at once, with status 0."""
    command = [sys.executable, "-m", "serving.embedded", "--port=0", f"--transport={transport}"]
    with child("the server", [*command, f"--model_base_path={base}"], tmp_path / "log") as server:
        eventually(lambda: expects(server.pid, signal.SIGTERM))
        os.kill(server.pid, signal.SIGTERM)
        eventually(lambda: not server.running)
        assert server.stop() == 0
    assert "stopping" not in server.log.read_text()


def expects(pid: int, number: int) -> bool:
    """Whether a process catches a signal, or waits for it."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return any(int(fields[mask], 16) >> (number - 1) & 1 for mask in ("SigCgt", "SigBlk"))


def test_taken_port(tmp_path: Path, transport: str) -> None:
    """A server whose port is taken says so and ends with status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "serving.embedded", f"--port={taken.getsockname()[1]}"]
        command += [f"--transport={transport}"]
        ended = subprocess.run(
            [*command, f"--model_base_path={tmp_path}"], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(
        f"ERROR cannot listen on {address}: it is taken, or no address of this machine"
    )
