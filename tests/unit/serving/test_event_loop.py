"""serving.event_loop: uvloop where there is one, else asyncio's own."""

import asyncio
import sys

import pytest
import uvloop

from serving import event_loop


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_uvloop_runs_where_it_is_installed() -> None:
    """The faster one."""
    assert isinstance(event_loop.run(_loop()), uvloop.Loop)


def test_asyncio_runs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert not isinstance(event_loop.run(_loop()), uvloop.Loop)
