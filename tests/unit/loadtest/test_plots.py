"""loadtest.plots and loadtest.report"""

import json
from pathlib import Path

import numpy as np

from loadtest import plots, report, thresholds
from loadtest.observer import Observer
from loadtest.thresholds import Threshold
from tests.unit.loadtest.recordings import recording


def test_knee() -> None:
    """The knee is where more users stop to bring more calls."""
    users = np.array([1, 2, 4, 8, 16, 32, 64])
    rate = np.minimum(users * 100, 850)
    steps = np.column_stack([users, rate, users / rate])
    assert users[plots.knee(steps)] == 8


def test_by_users() -> None:
    """Calls are told apart by how many users there were when they ended."""
    calls = [(second, "a", "OK", False, 0.001 * (second + 1)) for second in range(4) for _ in range(10 * (second + 1))]
    run = recording(*calls, users={0: 1, 1: 1, 2: 2})
    np.testing.assert_allclose(plots.by_users(run), [[1, 15, 0.002], [2, 30, 0.003]])


def test_report(tmp_path: Path) -> None:
    """The page stands alone, names what is breached, and lies beside its plots and its figures."""
    users = {second: 2**second for second in range(5)}
    calls = [(second, "a <b>", "OK", False, 0.001) for second in range(5) for _ in range(10)]
    run = recording(*calls, (1, "a <b>", "UNAVAILABLE", True, 0.2), users=users)
    echo = recording(*[(second, "Echo", "OK", False, 0.0005) for second in range(3)])
    outcomes = thresholds.check([Threshold(figure="errors", at_most=0)], run, echo)
    observer = Observer({}, "")
    observer.stages = {"queue": 0.001}
    observer.cpu, observer.memory = {"gateway": [0.5, 0.6]}, {"gateway": [8e7, 8e7]}
    page = report.write(tmp_path, report.Run("smoke", run, echo, outcomes, observer, baseline=run))
    text = page.read_text()
    assert "breached: errors of all calls" in text
    assert "a &lt;b&gt;" in text
    assert "http" not in text.replace("http-equiv", "")
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {
        "latency_over_time",
        "latency_distribution",
        "throughput_against_latency",
        "errors",
        "stages",
        "resources",
    }
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["codes"] == {"OK": 50, "UNAVAILABLE": 1}
    assert figures["thresholds"][0]["passed"] is False
    assert "**BREACHED**: errors" in (tmp_path / "summary.md").read_text()
