"""Settings that change while the gateway runs: read again at SIGHUP and when the file changes."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from gateway.configuration import ConfigurationError, differences
from gateway.settings import Settings
from gateway.watched_files import WatchedFiles

log = structlog.get_logger("gateway")

# What may change without a restart; beginnings of settings' names.
RELOADABLE = (
    "models",
    "limits.client",
    "limits.models",
    "limits.max_concurrent_calls",
    "limits.max_concurrent_streams",
    "limits.max_waiting_calls",
    "limits.max_bytes_in_flight",
    "auth.issuers",
    "auth.certificates",
)

Apply = Callable[[Settings, Settings], None]
"""Takes the new settings in place of the old."""


class Reloader:
    """Reads the settings again by `load` and hands them to all of `apply` if they make sense."""

    def __init__(
        self, settings: Settings, load: Callable[[], Settings], file: Path | None, apply: Iterable[Apply]
    ) -> None:
        self._settings = settings
        self._load = load
        self._file = WatchedFiles([file] if file else [])
        self._apply = tuple(apply)
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Has `watch` reload at once."""
        self._asked.set()

    async def watch(self, interval: float) -> None:
        """Reloads when asked and when the file has changed, looking every `interval` seconds, until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), interval)
            except TimeoutError:
                if not self._file.changed():
                    continue
            self._asked.clear()
            self.reload()

    def reload(self) -> None:
        """Takes what may change and names what needs a restart; settings that make no sense change nothing."""
        try:
            new = self._load()
        except ConfigurationError as error:
            log.error("settings stay as they were", message=str(error))  # noqa: TRY400  # the message says it all
            return
        changed = list(differences(self._settings, new))
        fixed = [name for name in changed if not name.startswith(RELOADABLE)]
        for apply in self._apply:
            apply(self._settings, new)
        self._settings = new
        log.info("settings reloaded", changed=[name for name in changed if name not in fixed], need_restart=fixed)
