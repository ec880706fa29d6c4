"""Prometheus's own opinion of a page of metrics."""

import shutil
import subprocess

import pytest


def problems(page: str) -> list[str]:
    """What `promtool check metrics` finds, a line each; skips where it is not installed."""
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (Debian: prometheus)")
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=page, capture_output=True, text=True, timeout=30, check=False)
    # 3 is a page that can be read and has something to find fault with.
    assert checked.returncode in {0, 3}, checked.stderr
    return checked.stderr.splitlines()
