"""An engine that builds images and runs commands in them: Docker, or where there is none the script that stands in."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
# buildah on base images made on the spot, where that tool lies beside the checkout.
STAND_IN = ROOT.parent / "shared/images/build.sh"
BUILD_TIMEOUT, RUN_TIMEOUT = 900, 120


class Engine(Protocol):
    """Builds, and runs as production does: nothing of an image can be written to but its volumes and /tmp."""

    def build(self, tag: str, dockerfile: Path, stages: Mapping[str, Path]) -> None:
        """Builds an image of the repository, with directories in the place of some of its stages."""

    def run(self, tag: str, command: Sequence[str], mounts: Mapping[str, Path]) -> str:
        """What a command in a container writes; its exit status must be 0. Mounts are directories by their place."""

    def remove(self, tag: str) -> None:
        """Removes an image."""


def _output(command: Sequence[str | Path], timeout: float) -> str:
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return ended.stdout


def _contexts(stages: Mapping[str, Path]) -> list[str]:
    return [f"--build-context={name}={path}" for name, path in stages.items()]


class Docker:
    """Docker."""

    def build(self, tag: str, dockerfile: Path, stages: Mapping[str, Path]) -> None:
        """See Engine.build."""
        _output(["docker", "build", "--tag", tag, "--file", dockerfile, *_contexts(stages), ROOT], BUILD_TIMEOUT)

    def run(self, tag: str, command: Sequence[str], mounts: Mapping[str, Path]) -> str:
        """See Engine.run."""
        program, *arguments = command
        volumes = [f"--volume={path}:{place}:ro" for place, path in mounts.items()]
        hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        return _output(
            ["docker", "run", "--rm", *hardened, *volumes, "--entrypoint", program, tag, *arguments], RUN_TIMEOUT
        )

    def remove(self, tag: str) -> None:
        """See Engine.remove."""
        _output(["docker", "image", "rm", tag], RUN_TIMEOUT)


# root, user, directory, volumes, mounts (PATH:PLACE), then a command: in namespaces that end with it.
CONTAINER = """
root=$1 user=$2 directory=$3 volumes=$4 mounts=$5; shift 5
mount --bind "$root" "$root"
for volume in $volumes; do mkdir -p "$root$volume"; mount --bind "$root$volume" "$root$volume"; done
for each in $mounts; do mkdir -p "$root${each#*:}"; mount --bind -o ro "${each%:*}" "$root${each#*:}"; done
mount -o remount,ro,bind "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user" "$root" env --ignore-environment --chdir="$directory" "$@"
"""


class StandIn:
    """The script beside the checkout builds; as it cannot make a file system read-only, running is done here."""

    def build(self, tag: str, dockerfile: Path, stages: Mapping[str, Path]) -> None:
        """See Engine.build."""
        base = "--build-arg=PYTHON=python:3.11-slim-bookworm"
        _output([STAND_IN, tag, dockerfile, ROOT, base, *_contexts(stages)], BUILD_TIMEOUT)

    def run(self, tag: str, command: Sequence[str], mounts: Mapping[str, Path]) -> str:
        """See Engine.run."""
        container = _output(["buildah", "from", "--pull-never", tag], RUN_TIMEOUT).strip()
        try:
            config = json.loads(_output(["buildah", "inspect", container], RUN_TIMEOUT))["OCIv1"]["config"]
            root = _output(["buildah", "mount", container], RUN_TIMEOUT).strip()
            isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", CONTAINER, "sh", root]
            volumes = " ".join(config.get("Volumes", {}))
            mounted = " ".join(f"{path}:{place}" for place, path in mounts.items())
            place = [config["User"], config["WorkingDir"], volumes, mounted]
            return _output([*isolated, *place, *config["Env"], *command], RUN_TIMEOUT)
        finally:
            _output(["buildah", "rm", container], RUN_TIMEOUT)

    def remove(self, tag: str) -> None:
        """See Engine.remove."""
        _output(["buildah", "rmi", tag], RUN_TIMEOUT)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """What builds images here."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return Docker()
    if STAND_IN.exists() and os.geteuid() == 0:
        return StandIn()
    if "TENSORGATE_IMAGES" in os.environ:
        pytest.fail("`make images` needs Docker")
    pytest.skip("building images needs Docker")


@pytest.fixture(scope="session")
def built(engine: Engine) -> Iterator[list[str]]:
    """Tags of what was built, which are removed in the end, the last first."""
    tags: list[str] = []
    yield tags
    for tag in reversed(tags):
        engine.remove(tag)
