"""A few real calls, and then a short load, against what was deployed."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.commands import run
from deploy.images import ROOT
from deploy.models import fetch_samples

THRESHOLDS = ROOT / "loadtest/deployed.yaml"


def smoke(endpoint: str, store: str, model: str, *, out: Path, options: Sequence[str] = ("--tls",)) -> None:
    """Loads `endpoint` with samples of the model's newest version in `store`; DeployError if a threshold is breached.

    TENSORGATE_KEY is the key; TENSORGATE_METADATA may hold more that a platform asks for.
    """
    samples = out / "samples"
    fetch_samples(store, model, samples)
    command = [sys.executable, "-m", "loadtest", "smoke", "--address", endpoint, "--model", model]
    command += ["--images", str(samples), "--thresholds", str(THRESHOLDS), "--out", str(out / "report"), *options]
    run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, shown=True)
