"""The real chain, once: trained, exported, served, called."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.processes import Child, child

ROOT = Path(__file__).resolve().parents[2]
# Training, and TensorFlow's start, on a slow or shared machine.
TIMEOUT = 300.0


@dataclass(frozen=True)
class Demo:
    """What `make demo` did in a directory of its own."""

    directory: Path
    ended: subprocess.CompletedProcess[str]

    @property
    def base(self) -> Path:
        """The model's directory in the model store."""
        return self.directory / "var/models/digits"

    @property
    def samples(self) -> list[Path]:
        """Held-out digits, named for their labels."""
        return sorted(self.base.glob("*/assets.extra/samples/*.png"))


def environment() -> dict[str, str]:
    """The environment in which the packages are found from any directory."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TENSORGATE_")} | {
        "PYTHONPATH": str(ROOT)
    }


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`make demo`, from nothing."""
    directory = tmp_path_factory.mktemp("demo")
    ended = subprocess.run(
        [sys.executable, "-m", "stack", "demo"],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Demo(directory, ended)


StartServer = Callable[..., tuple[Child, str]]


@pytest.fixture
def start_server(demo: Demo, tmp_path: Path) -> Iterator[StartServer]:
    """Starts embedded servers on the demo's model; gives the process and its address."""
    with ExitStack() as children:

        def start(port: int = 0) -> tuple[Child, str]:
            command = [
                sys.executable,
                "-m",
                "serving.embedded",
                f"--port={port}",
                "--model_name=digits",
                f"--model_base_path={demo.base}",
            ]
            log = tmp_path / f"server-{len(list(tmp_path.glob('server-*')))}.log"
            process = children.enter_context(child("the model server", command, log))
            return process, process.wait_for("serving gRPC on ", TIMEOUT).split()[-1]

        yield start
