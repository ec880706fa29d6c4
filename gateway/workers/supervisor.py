"""The process above the workers: starts them, again should one end, passes signals on and answers for all of them."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from gateway import logs
from gateway.settings import Settings
from gateway.workers import words
from gateway.workers.member import SUPERVISOR, Member, socket_of
from gateway.workers.merging import Snapshot, kept, merged
from gateway.workers.ports import listening, reserved
from gateway.workers.words import SilentError
from serving.transport.addresses import AddressTakenError

log = structlog.get_logger("gateway.workers")

# Seconds before a worker that ended is started again: the first time, and at most; it doubles in between.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
# A worker that lived so many seconds had no fault of its own.
SOUND = 30.0
# Seconds between two looks at what the workers have measured, which is what may be lost when one is killed.
LOOK = 1.0
# Seconds that one worker may take to answer; who asks for all of them has more.
PATIENCE = words.TIMEOUT / 3
_POLL = 0.05


def supervise(settings: Settings, arguments: Sequence[str]) -> int:
    """Runs `settings.workers` gateways as one until SIGTERM or SIGINT; returns the exit status."""
    logs.configure(settings.log)
    try:
        return asyncio.run(_supervise(settings, arguments))
    except AddressTakenError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1


async def _supervise(settings: Settings, arguments: Sequence[str]) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="tensorgate-workers-") as directory,
        contextlib.ExitStack() as stack,
    ):
        held, listen = reserved(settings.listen)
        stack.enter_context(held)
        http = stack.enter_context(listening(settings.http))
        supervisor = Supervisor(settings, arguments, directory, listen, http)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
        where = f"{settings.http.rpartition(':')[0]}:{http.getsockname()[1]}"
        return await supervisor.run({"grpc": listen, "http": where, "workers": settings.workers})


class Supervisor:
    """The workers of one gateway."""

    def __init__(
        self, settings: Settings, arguments: Sequence[str], directory: str, listen: str, http: socket.socket
    ) -> None:
        self._arguments = arguments
        self._directory = directory
        self._http = http
        self._workers = range(settings.workers)
        ends, self._lifeline = os.pipe()
        key = secrets.token_hex(32)
        self._members = [
            Member(
                index=index,
                workers=settings.workers,
                directory=directory,
                listen=listen,
                receipt_key=key,
                http_socket=http.fileno(),
                lifeline=ends,
            )
            for index in self._workers
        ]
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._seen: dict[int, Snapshot] = {}
        """What each live worker had measured when it was last asked."""
        self._ended: Snapshot = []
        """What those that have ended had measured, together."""
        self._looking = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._serving = False
        self._status = 0

    async def run(self, where: dict[str, Any]) -> int:
        """Keeps the workers running until `stop`; returns the first bad status with which one then ended."""
        answers = {"metrics": self.metrics, "state": self.state}
        answering = asyncio.create_task(words.listen(Path(self._directory) / SUPERVISOR, answers))
        keeping = [asyncio.create_task(self._keep(member)) for member in self._members]
        watching = asyncio.create_task(self._watch(where))
        try:
            await asyncio.gather(*keeping)
        finally:
            watching.cancel()
            answering.cancel()
        return self._status

    def stop(self) -> None:
        """Has every worker drain and end."""
        self._stopping.set()
        # The workers close theirs when they are done.
        self._http.close()
        self._signal(signal.SIGTERM)

    def reload(self) -> None:
        """Has every worker read its settings again."""
        self._signal(signal.SIGHUP)

    async def metrics(self) -> Snapshot:
        """What all workers have measured, those that have ended included."""
        await self._look()
        return merged({str(index): found for index, found in sorted(self._seen.items())}, [self._ended])

    async def state(self) -> dict[str, Any]:
        """Whether every worker is ready, and what each says."""
        answers = await asyncio.gather(
            *(words.ask(socket_of(self._directory, index), "state", PATIENCE) for index in self._workers),
            return_exceptions=True,
        )
        states = [answer if isinstance(answer, dict) else {"ready": False} for answer in answers]
        return {
            "ready": all(state["ready"] for state in states),
            "draining": self._stopping.is_set(),
            "models": states[0].get("models", {}),
            "workers": states,
        }

    async def _keep(self, member: Member) -> None:
        """Runs one worker, again and again until the gateway is to end."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            process = self._processes[member.index] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway",
                *self._arguments,
                env=os.environ | member.environment(),
                pass_fds=(member.http_socket, member.lifeline),
                # Ctrl-C reaches the supervisor alone, which ends the workers in order.
                start_new_session=True,
            )
            if self._stopping.is_set():
                process.terminate()
            status = await process.wait()
            del self._processes[member.index]
            self._ended = merged({}, [self._ended, kept(self._seen.pop(member.index, []))])
            if self._stopping.is_set() or not self._serving:
                # One that cannot even start has said why, and the others could not either.
                self._status = self._status or abs(status)
                if not self._stopping.is_set():
                    self.stop()
                return
            pause = FIRST_PAUSE if time.monotonic() - started > SOUND else min(2 * pause, LONGEST_PAUSE)
            log.error("worker ended", worker=member.index, status=status, again_in=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _watch(self, where: dict[str, Any]) -> None:
        while len(self._seen) < len(self._workers):
            await asyncio.sleep(_POLL)
            await self._look()
        self._serving = True
        log.info("serving", **where)
        while True:
            await asyncio.sleep(LOOK)
            await self._look()

    async def _look(self) -> None:
        """Asks each worker what it has measured; what one that is silent had measured before stays."""
        # One after another, so that nothing that was counted is ever taken back.
        async with self._looking:
            await asyncio.gather(*(self._look_at(*worker) for worker in self._processes.items()))

    async def _look_at(self, index: int, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(SilentError):
            found = await words.ask(socket_of(self._directory, index), "metrics", PATIENCE)
            if self._processes.get(index) is process:
                self._seen[index] = found

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
