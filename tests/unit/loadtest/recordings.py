"""Recordings for the tests, made without Locust."""

import numpy as np

from loadtest.recording import Recording


def recording(*calls: tuple[int, str, str, bool, float], users: dict[int, int] | None = None) -> Recording:
    """A recording of calls: second, name, status, whether it failed, latency in seconds."""
    second, name, code, failed, latency = zip(*calls, strict=True)
    return Recording(
        np.array(second),
        np.array(name),
        np.array(code),
        np.array(failed),
        np.array(latency),
        np.ones(len(calls), np.int64),
        users or {},
    )
