"""gateway.logs"""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.logs import configure
from gateway.settings import LogSettings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Our events and the libraries' are one line of JSON each, traceback included; none is below the level."""
    configure(LogSettings(level="info"))
    structlog.get_logger().debug("unheard")
    structlog.get_logger().info("ours", number=1)
    logging.getLogger("library").error("theirs %s", 2, exc_info=ValueError("a\nb"))
    logging.getLogger("library").info("unheard")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["number"], ours["level"]) == ("ours", 1, "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("theirs 2", "library", "error")
    assert theirs["exception"][0]["exc_type"] == "ValueError"
