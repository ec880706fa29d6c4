"""An engine that builds images and runs commands in them: Docker, or where there is none the script that stands in."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
# buildah on base images made on the spot, where that tool lies beside the checkout.
STAND_IN = ROOT.parent / "shared/images/build.sh"
BUILD_TIMEOUT, RUN_TIMEOUT = 900, 120


class Engine(Protocol):
    """Builds and runs."""

    def build(self, tag: str, dockerfile: Path, context: Path = ROOT) -> None:
        """Builds an image."""

    def run(self, tag: str, command: Sequence[str]) -> str:
        """What a command in a container writes; its exit status must be 0."""


def _output(command: Sequence[str | Path], timeout: float) -> str:
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return ended.stdout


class Docker:
    """Docker."""

    def build(self, tag: str, dockerfile: Path, context: Path = ROOT) -> None:
        """See Engine.build."""
        _output(["docker", "build", "--tag", tag, "--file", dockerfile, context], BUILD_TIMEOUT)

    def run(self, tag: str, command: Sequence[str]) -> str:
        """See Engine.run."""
        program, *arguments = command
        return _output(["docker", "run", "--rm", "--entrypoint", program, tag, *arguments], RUN_TIMEOUT)


class StandIn:
    """The script beside the checkout."""

    def build(self, tag: str, dockerfile: Path, context: Path = ROOT) -> None:
        """See Engine.build."""
        base = "--build-arg=PYTHON=python:3.11-slim-bookworm"
        _output([STAND_IN, tag, dockerfile, context, base], BUILD_TIMEOUT)

    def run(self, tag: str, command: Sequence[str]) -> str:
        """See Engine.run."""
        return _output([STAND_IN, "run", tag, *command], RUN_TIMEOUT)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """What builds images here."""
    if "TENSORGATE_IMAGES" not in os.environ:
        pytest.skip("images take minutes to build; `make images` builds and runs them")
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return Docker()
    if STAND_IN.exists() and os.geteuid() == 0:
        return StandIn()
    pytest.fail("`make images` needs Docker")
