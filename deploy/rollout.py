"""A model version in front of callers, by the gateway's own roll-outs and their verdict."""

import subprocess
import sys

from deploy.images import ROOT
from deploy.release import RolledBack


def promote(endpoint: str, model: str, version: int) -> None:
    """Rolls a version out and waits for the verdict; RolledBack if the version before it was better.

    TENSORGATE_KEY is a key with the scope `admin`.
    """
    command = [sys.executable, "-m", "gateway", "rollout", "start", "--address", endpoint, "--tls", "--model", model]
    command += ["--candidate", str(version), "--wait"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise RolledBack(f"{model} version {version} is not promoted; `gateway rollout history` says why")
