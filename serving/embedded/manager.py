"""Which versions of which models are loaded, and which one answers."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from serving.embedded.batching.scheduler import Scheduler
from serving.embedded.errors import NoVersions, ServableNotFound, VersionNotFound
from serving.embedded.servable import Inference, Result, Servable
from serving.embedded.version import Loader, State, Version
from serving.embedded.workers import Workers


class Manager:
    """The versions of all models; belongs to the event loop that it is used on.

    A version that is no longer wanted goes once a wanted one is AVAILABLE, or at once if none is wanted; wanted again
    it is loaded anew once it is gone. One that failed is tried again only if it was not wanted in between. Calls run
    on `workers`, or in batches if there is a `scheduler`.
    """

    def __init__(self, loader: Loader, workers: Workers, scheduler: Scheduler | None = None) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Hears when a version becomes AVAILABLE or ceases to be, and when other versions or models are wanted."""
        self._loader = loader
        self._workers = workers
        self._scheduler = scheduler
        self._versions: defaultdict[str, dict[int, Version]] = defaultdict(dict)
        self._available: dict[str, dict[int, Version]] = {}
        self._wanted: dict[str, frozenset[int]] = {}
        self._lives: dict[Version, asyncio.Task[None]] = {}

    def want(self, name: str, versions: Mapping[int, Path]) -> None:
        """From now on the model `name` is to have `versions`, each loaded from its directory."""
        self._wanted[name] = frozenset(versions)
        for number, path in versions.items():
            known = self._versions[name].get(number)
            if known is None or known.retired:
                version = self._versions[name][number] = Version(name, number, path, self._scheduler)
                life = asyncio.create_task(self._live(name, version, self._lives.get(known) if known else None))
                self._lives[version] = life
                life.add_done_callback(partial(self._forget, version))
        self._changed(name)

    async def attempted(self) -> None:
        """Returns once each version that is wanted now has been loaded, or has failed to at least once."""
        wanted = [self._versions[name][number] for name, numbers in self._wanted.items() for number in numbers]
        await asyncio.gather(*(version.attempted.wait() for version in wanted))

    def wanted(self, name: str) -> list[Version]:
        """The versions that a model is to have, in whatever state."""
        return [self._versions[name][number] for number in sorted(self._wanted.get(name, ()))]

    def find(self, name: str, number: int | None) -> Version:
        """The AVAILABLE version `number` of a model, its highest if None; raises ServableNotFound."""
        available = self._available.get(name, {})
        try:
            return available[max(available, default=0) if number is None else number]
        except KeyError:
            raise ServableNotFound(name, number) from None

    def available(self) -> Iterator[tuple[str, int]]:
        """The models and versions that are AVAILABLE."""
        return ((name, number) for name, versions in self._available.items() for number in versions)

    def infer(
        self,
        version: Version,
        method: Callable[[Servable], Inference[Result]],
        *,
        large: bool = False,
    ) -> Coroutine[Any, Any, Result]:
        """The result of a `method` of a version's model; the model is not closed before that is done."""
        return version.infer(self._workers, method, large=large)

    def statuses(self, name: str, number: int | None) -> list[Version]:
        """All versions of a model that there ever were, or only `number`; raises NoVersions or VersionNotFound."""
        versions = self._versions.get(name, {})
        if number is None:
            if not versions:
                raise NoVersions(name)
            return [versions[key] for key in sorted(versions)]
        if number not in versions:
            raise VersionNotFound(name, number)
        return [versions[number]]

    async def _live(self, name: str, version: Version, before: asyncio.Task[None] | None) -> None:
        """The life of a version, after that of the one `before` it with the same number."""
        if before:
            await asyncio.wait([before])
        await version.live(self._loader, partial(self._changed, name))

    def _forget(self, version: Version, _: asyncio.Task[None]) -> None:
        del self._lives[version]

    def _changed(self, name: str) -> None:
        versions, wanted = self._versions[name], self._wanted[name]
        available = {number: version for number, version in versions.items() if version.state is State.AVAILABLE}
        self._available[name] = available
        replaced = not wanted or not wanted.isdisjoint(available)
        for number in versions.keys() - wanted:
            if replaced or number not in available:
                versions[number].retire()
        self.on_change()
