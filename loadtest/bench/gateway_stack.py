"""A gateway in front of the embedded server, on the digits model, for what is measured on both."""

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from stack.__main__ import MODEL, free_port
from stack.processes import Child, child

_START_TIMEOUT = 300.0


@dataclass(frozen=True)
class Stack:
    """A running gateway with its server."""

    address: str
    http: str
    gateway: Child
    server: Child

    @property
    def children(self) -> tuple[Child, ...]:
        """Both."""
        return self.server, self.gateway

    def answered(self) -> float:
        """Calls that ended well, so far."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as page:  # our own
            families = text_string_to_metric_families(page.read().decode())
        samples = [
            sample for family in families for sample in family.samples if sample.name == "tensorgate_calls_total"
        ]
        return sum(sample.value for sample in samples if sample.labels["code"] == "OK")

    def memory(self) -> dict[str, int]:
        """Resident bytes of each, its workers included."""
        found = {}
        for name, started in (("gateway", self.gateway), ("server", self.server)):
            process = psutil.Process(started.pid)
            found[name] = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
        return found


@contextmanager
def stack(directory: Path, scratch: Path, *, models: int = 1, workers: int = 1, transport: str = "") -> Iterator[Stack]:
    """A gateway of so many workers, and a server of the model in `directory` under so many names; ProcessError."""
    names = [MODEL, *(f"{MODEL}{number}" for number in range(2, models + 1))]
    config = scratch / "models.config"
    entries = "\n".join(
        f'config {{ name: "{name}" base_path: "{directory.parent}" model_platform: "tensorflow" }}' for name in names
    )
    config.write_text(f"model_config_list {{ {entries} }}\n")
    python = [sys.executable, "-m"]
    carried = [f"--transport={transport}"] if transport else []
    with ExitStack() as parts:
        command = [*python, "serving.embedded", "--port=0", f"--model_config_file={config}", "--enable_batching"]
        server = parts.enter_context(child("the server", command + carried, scratch / "server.log"))
        backend = server.wait_for("serving gRPC on ", _START_TIMEOUT).split()[-1]
        address, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
        command = [*python, "gateway", f"--models={','.join(names)}", f"--listen={address}", f"--http={http}"]
        command += [f"--backend.address={backend}", "--no-auth.enabled", "--drain.delay=0", f"--workers={workers}"]
        # What is refused costs little.
        command += ["--limits.max-instances=1024", "--limits.max-waiting-calls=4096"]
        gateway = parts.enter_context(child("the gateway", command + carried, scratch / "gateway.log"))
        gateway.wait_for('"event": "serving"', _START_TIMEOUT)
        yield Stack(address, http, gateway, server)
