"""What a worker knows of the gateway that it is a part of."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from gateway import configuration
from gateway.settings import Settings
from gateway.workers import words
from gateway.workers.merging import Merged, snapshot

VARIABLE = "TENSORGATE_WORKER"
SUPERVISOR = "supervisor.sock"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One worker's place; handed down in the environment."""

    index: int
    workers: int
    directory: str
    """Where the processes' sockets are."""
    listen: str
    receipt_key: str
    http_socket: int
    """File descriptor of the listening socket that the workers share."""
    lifeline: int
    """File descriptor of a pipe that ends with the supervisor."""

    @classmethod
    def current(cls) -> Self | None:
        """The place of the process, or None if it serves by itself."""
        told = os.environ.get(VARIABLE)
        return cls(**json.loads(told)) if told else None

    def environment(self) -> dict[str, str]:
        """The environment by which the worker finds it."""
        return {VARIABLE: json.dumps(asdict(self))}

    def adjusted(self, settings: Settings) -> Settings:
        """The settings as they are for one of several."""
        changes: dict[str, Any] = {"listen": self.listen}
        if settings.receipt_key is None:
            # Each takes the others' ids.
            changes["receipt_key"] = SecretStr(self.receipt_key)
        if "threads" not in settings.model_fields_set:
            changes["threads"] = max(1, settings.threads // self.workers)
        return settings.model_copy(update=changes)

    def http(self) -> socket.socket:
        """The listening socket."""
        return socket.socket(fileno=self.http_socket)

    async def serve(
        self, stop: Callable[[], None], registry: CollectorRegistry, state: Callable[[], dict[str, Any]]
    ) -> None:
        """Tells the supervisor what it asks, until cancelled, and calls `stop` should it end without a word."""
        self._watch(stop)

        async def metrics() -> Any:
            return snapshot(registry)

        async def own_state() -> Any:
            return state()

        await words.listen(socket_of(self.directory, self.index), {"metrics": metrics, "state": own_state})

    async def metrics(self) -> Merged:
        """The metrics of all workers. SilentError."""
        return Merged(await words.ask(Path(self.directory) / SUPERVISOR, "metrics"))

    async def state(self) -> dict[str, Any]:
        """The state of all workers. SilentError."""
        found: dict[str, Any] = await words.ask(Path(self.directory) / SUPERVISOR, "state")
        return found

    def _watch(self, stop: Callable[[], None]) -> None:
        """Calls `stop` in the event loop when the supervisor has ended."""
        loop = asyncio.get_running_loop()

        def wait() -> None:
            os.read(self.lifeline, 1)
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop)

        threading.Thread(target=wait, name="lifeline", daemon=True).start()


def socket_of(directory: str, index: int) -> Path:
    """Where a worker is asked."""
    return Path(directory) / f"worker-{index}.sock"


def load(arguments: Sequence[str]) -> Settings:
    """The settings, as `configuration.load` reads them, for this process."""
    settings = configuration.load(arguments)
    member = Member.current()
    return member.adjusted(settings) if member else settings
