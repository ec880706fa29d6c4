"""What pyvoy loads: the program inside Envoy, from Envoy's start to its end."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Self
from urllib.parse import quote

from serving.transport.asgi.application import GrpcApplication
from serving.transport.asgi.call import Scope, Send
from serving.transport.asgi.requests import Receive
from serving.transport.envoy import certificates
from serving.transport.envoy.admin import Admin
from serving.transport.envoy.elsewhere import elsewhere
from serving.transport.envoy.launched import ADMIN_SOCKET, DRAINING, SIGNALS, Launched
from serving.transport.envoy.options import Tls

logger = logging.getLogger(__name__)

_current: ContextVar["Host"] = ContextVar("current_host")
_LISTENING = "listener_manager.workers_started"
# Of the state of a listener's calls: the event loop that answers them, if it is not the listener's own.
_ELSEWHERE = "elsewhere"
_IDLE_NO_MORE = "overload.envoy.overload_actions.reduce_timeouts.scale_percent"
_POLL = 0.01
# Seconds; Envoy looks four times a second whether it is to tell them.
_TELLING = 2.0


class Host:
    """An ASGI application that runs `program`, a coroutine function of the command line, inside Envoy.

    The program serves by an EnvoyServer. When it returns, the process ends with the status that it returned.
    """

    _loop: asyncio.AbstractEventLoop
    """The program's, which is the first listener's."""

    def __init__(self, program: Callable[[list[str]], Awaitable[int]]) -> None:
        self._program = program
        self._application: GrpcApplication | None = None
        self._on_signal: dict[int, Callable[[], None]] = {}
        self._arrived: set[int] = set()

    @classmethod
    def current(cls) -> Self:
        """The host of the program that runs; LookupError elsewhere."""
        return _current.get()  # type: ignore[return-value]  # there is one class of hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands calls to the program's server, and answers the lifespan protocol."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        # Listeners open after `open` only.
        assert self._application is not None
        if _ELSEWHERE in scope["state"]:
            await elsewhere(self._application, scope["state"][_ELSEWHERE], scope, receive, send)
        else:
            await self._application(scope, receive, send)

    def port(self, address: str) -> int:
        """The port that Envoy listens on for `address`; KeyError if it was not launched with it."""
        return self._launched.ports[address]

    def encrypted(self, address: str) -> bool:
        """Whether Envoy speaks TLS there."""
        return address in self._launched.encrypted

    @property
    def admin_port(self) -> int | None:
        """The port of Envoy's own pages."""
        return self._launched.admin_port

    async def stats(self, pattern: str) -> dict[str, float]:
        """Envoy's counters and gauges whose names match, in part, a regular expression. OSError or HTTPException."""
        _, text = await self._admin.get(f"/stats?format=json&filter={quote(pattern)}")
        # Histograms have no value of their own.
        return {stat["name"]: stat["value"] for stat in json.loads(text)["stats"] if "value" in stat}

    def replace_certificates(self, tls: Tls) -> None:
        """Has Envoy show other certificates to who connects from now on, and trust others. OSError."""
        certificates.write(Path(self._launched.directory), tls)

    async def open(self, application: GrpcApplication) -> None:
        """Has Envoy listen and hand calls to `application`; returns once it does."""
        self._application = application
        self._opened.set()
        await self._until(_LISTENING, " 1")

    async def close(self) -> None:
        """Has Envoy close its listeners and tell every client to go elsewhere, at once or with its answer."""
        await self._admin.post("/drain_listeners?graceful&skip_exit")
        await self._admin.post("/drain_listeners")
        directory = Path(self._launched.directory)
        (directory / "new").write_text("1")
        (directory / "new").replace(directory / DRAINING)
        # Connections without calls are told by themselves, and before the process ends.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._until(_IDLE_NO_MORE, " 100"), _TELLING)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Calls `callback` in the event loop at one of `SIGNALS`; at SIGHUP also if it came before.

        Until there is one the others end the process, with status 0.
        """
        self._on_signal[number] = callback
        if number in self._arrived:
            callback()

    async def _until(self, stat: str, value: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, text = await self._admin.get(f"/stats?filter={stat}")
                if text.strip().endswith(value):
                    return
            await asyncio.sleep(_POLL)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self._application is not None:
            # Each further listener has a thread and an event loop of its own; the program runs once.
            scope["state"][_ELSEWHERE] = self._loop
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self._loop = asyncio.get_running_loop()
        self._launched = Launched.current()
        self._admin = Admin(Path(self._launched.directory) / ADMIN_SOCKET)
        self._opened = asyncio.Event()
        threading.Thread(target=self._wait_for_signals, args=(self._loop,), name="signals", daemon=True).start()
        _current.set(self)
        program = self._loop.create_task(self._run())
        opened = self._loop.create_task(self._opened.wait())
        await asyncio.wait((program, opened), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The program has returned, or somebody else has told Envoy to end.
        program.cancel()
        await asyncio.wait((program,))
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self) -> None:
        status = 1
        try:
            status = await self._program(self._launched.arguments)
            if status == 0 and self._opened.is_set():
                await self._admin.post("/quitquitquit")
                return
        except Exception:
            logger.exception("the program failed")
            status = status or 1
        finally:
            shutil.rmtree(self._launched.directory, ignore_errors=True)
        # Envoy itself would call this a success, or not end before it has begun.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _wait_for_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        while not loop.is_closed():
            number = signal.sigwait(SIGNALS)
            if number != signal.SIGHUP and number not in self._on_signal:
                # Nothing is in flight yet, and neither import nor load can be cut short otherwise.
                shutil.rmtree(self._launched.directory, ignore_errors=True)
                os._exit(0)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._signal, number)

    def _signal(self, number: int) -> None:
        self._arrived.add(number)
        if number in self._on_signal:
            self._on_signal[number]()
