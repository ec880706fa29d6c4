"""Other people's programs: docker, terraform, gcloud."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class DeployError(Exception):
    """A deployment cannot go on; the text says why."""


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, shown: bool = False
) -> str:
    """What a command writes to its standard output, which `shown` lets through instead; DeployError if it fails."""
    print("+", *command, file=sys.stderr, flush=True)
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=env, stdout=None if shown else subprocess.PIPE, text=True, check=False
        )
    except OSError as error:
        raise DeployError(f"{command[0]} cannot be run: {error.strerror}") from error
    if ended.returncode:
        raise DeployError(f"{Path(command[0]).name} {command[1]} ended with status {ended.returncode}")
    return ended.stdout or ""
