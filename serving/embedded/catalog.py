"""The models that are configured now: where their versions are looked for, and the labels that versions carry."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from serving.embedded.config import Model
from serving.embedded.errors import LabelledVersionUnavailable, ServableNotFound, ServablesUnavailable, UnknownLabel
from serving.embedded.manager import Manager
from serving.embedded.source import Source
from serving.embedded.version import State

logger = logging.getLogger(__name__)


class Catalog:
    """Tells the manager which versions of which models to have; belongs to the manager's event loop.

    A label may only be given to a version that is AVAILABLE, or with `unavailable_labels` to any, unless the label is
    another version's now (server_core.cc). `on_adopt` hears of the models of each configuration.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        unavailable_labels: bool = False,
        on_adopt: Callable[[Sequence[Model]], None] = lambda _: None,
    ) -> None:
        self._manager = manager
        self._unavailable_labels = unavailable_labels
        self._on_adopt = on_adopt
        self._sources: dict[str, Source] = {}
        self._labels: dict[str, Mapping[str, int]] = {}

    def adopt(self, models: Sequence[Model]) -> None:
        """From now on `models` are all there are: others are unloaded. LabelledVersionUnavailable changes nothing.

        As in TFS a version that is loaded stays as it is, even if the base path is another now.
        """
        for model in models:
            for label, number in model.labels.items():
                self._check_label(model.name, label, number)
        logger.info("models: %s", ", ".join(model.name for model in models) or "none")
        gone = self._sources.keys() - {model.name for model in models}
        self._sources = {model.name: self._source(model) for model in models}
        self._labels = {model.name: model.labels for model in models}
        for name in gone:
            self._manager.want(name, {})
        self._on_adopt(models)
        self._manager.on_change()

    async def poll(self) -> None:
        """Looks for versions of every model, side by side: one base path that hangs or is missing keeps none back."""
        await asyncio.gather(*(self._poll(source) for source in self._sources.values()))

    async def reload(self, models: Sequence[Model]) -> None:
        """Adopts `models` and returns once each of their versions was loaded, or failed to at least once.

        Raises LabelledVersionUnavailable, with nothing changed, or ServablesUnavailable, with `models` adopted: what
        could not be loaded is named, and the rest is served.
        """
        self.adopt(models)
        # Whoever asked may leave; what was adopted is to be looked for all the same.
        await asyncio.shield(asyncio.ensure_future(self.poll()))
        await self._manager.attempted()
        unavailable = [entry for model in models for entry in self._unavailable(model.name)]
        if unavailable:
            raise ServablesUnavailable(unavailable)

    def labelled(self, name: str, label: str) -> int:
        """The version of a model that carries `label`; UnknownLabel."""
        try:
            return self._labels[name][label]
        except KeyError:
            raise UnknownLabel(label) from None

    def configures(self, name: str) -> bool:
        """Whether a model is configured."""
        return name in self._sources

    def ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(self._is_available(name, None) for name in self._sources)

    def _source(self, model: Model) -> Source:
        known = self._sources.get(model.name)
        if known and known.is_of(model):
            return known
        return Source(model)

    async def _poll(self, source: Source) -> None:
        versions = await asyncio.to_thread(source.poll)
        # The configuration may have changed in between.
        if versions is not None and self._sources.get(source.name) is source:
            self._manager.want(source.name, versions)

    def _check_label(self, name: str, label: str, number: int) -> None:
        moves = self._labels.get(name, {}).get(label, number) != number
        if (moves or not self._unavailable_labels) and not self._is_available(name, number):
            raise LabelledVersionUnavailable(name, number)

    def _is_available(self, name: str, number: int | None) -> bool:
        try:
            self._manager.find(name, number)
        except ServableNotFound:
            return False
        return True

    def _unavailable(self, name: str) -> Iterator[str]:
        """What keeps a model's versions from being served, in words."""
        versions = self._manager.wanted(name)
        if not versions:
            yield f"{{name: {name} due to error: no version found}}"
        for version in versions:
            if version.state is not State.AVAILABLE:
                reason = f" due to error: {version.error}" if version.error else ""
                yield f"{{name: {name} version: {version.number}{reason}}}"
