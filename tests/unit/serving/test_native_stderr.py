"""serving.native_stderr: the process's own stderr."""

import os

from serving.native_stderr import native_stderr_dropped


def test_dropped_and_back(capfd):
    """Only what is written within is lost."""
    with native_stderr_dropped():
        os.write(2, b"chatter")
    os.write(2, b"error")
    assert capfd.readouterr().err == "error"
