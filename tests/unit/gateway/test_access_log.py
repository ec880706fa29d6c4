"""gateway.interceptors.access_log"""

import pytest
from structlog.testing import capture_logs

from gateway.call import Call
from gateway.interceptors import access_log
from gateway.interceptors.access_log import AccessLog
from tests.fakes import calls


def ended(code: str = "OK") -> Call:
    """A call that ended with `code`."""
    return calls.call(code=code)


def test_as_many_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of calls that went well so many have a line in a second, those that failed all; the next line counts the rest."""
    now = 100.0
    monkeypatch.setattr(access_log.time, "monotonic", lambda: now)
    log = AccessLog(2)
    with capture_logs() as lines:
        for code in ("OK", "OK", "OK", "OK", "INTERNAL", "OK"):
            log.on_end(ended(code))
        now = 101.0
        log.on_end(ended())
    assert [(line["code"], line.get("skipped", 0)) for line in lines] == [
        ("OK", 0),
        ("OK", 0),
        ("INTERNAL", 2),
        ("OK", 1),
    ]
