"""loadtest.recording"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.recording import Recording, bucket
from tests.unit.loadtest.recordings import recording


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=50))
def test_quantiles_are_those_of_the_latencies(tmp_path_factory: pytest.TempPathFactory, latencies: list[float]) -> None:
    """A quantile out of the buckets is at most 2% above the one of the latencies themselves, never below."""
    rows = [[0, "x", "OK", False, bucket(latency), 1] for latency in latencies]
    path = tmp_path_factory.mktemp("run") / "run.json"
    path.write_text(json.dumps({"rows": rows, "users": []}))
    loaded = Recording.load(path)
    for share in (0.5, 0.99, 1.0):
        exact = float(np.quantile(latencies, share, method="inverted_cdf"))
        assert exact * (1 - 1e-9) <= loaded.quantile(share) <= exact * 1.0201


def test_figures() -> None:
    """Rates leave the seconds out that are not whole; failures are counted and do not add to the throughput."""
    run = recording(
        *[(second, "a", "OK", False, 0.001) for second in (0, 1, 1, 2, 2, 3)],
        (2, "b", "UNAVAILABLE", True, 0.5),
    )
    assert (run.calls, run.failures) == (7, 1)
    assert run.throughput == 2.0
    assert run.called("a").failures == 0
    assert run.called("b").throughput == 0.0
    assert run.names() == ["a", "b"]
    assert run.codes() == {"OK": 6, "UNAVAILABLE": 1}
    assert run.after(2).calls == 4
    assert np.isnan(run.called("c").quantile(0.5))


def test_an_empty_recording(tmp_path: Path) -> None:
    """Nothing recorded is no result."""
    path = tmp_path / "run.json"
    path.write_text('{"rows": [], "users": []}')
    with pytest.raises(ValueError, match="no call was recorded"):
        Recording.load(path)
