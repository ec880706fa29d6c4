"""Which versions of a model its base path holds: directories named by a number, `<base path>/<version>/`."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.embedded.config import Model

logger = logging.getLogger(__name__)

_VERSION = re.compile("[0-9]+")
_MAX_VERSION = 2**63 - 1
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_SECONDS_BETWEEN_WARNINGS = 60.0


def published(base_path: Path) -> Iterator[tuple[int, Path]]:
    """The versions below `base_path` from the highest down, with their directories.

    A directory without a saved_model.pb is still being written, and no version yet. Of two names for one version
    (`7`, `007`) the last in alphabetical order counts, as in TFS. Raises OSError if the base path cannot be read.
    """
    names = [entry.name for entry in base_path.iterdir() if _VERSION.fullmatch(entry.name)]
    last = None
    for version, name in sorted(((int(name), name) for name in names), reverse=True):
        directory = base_path / name
        if version <= _MAX_VERSION and version != last and any((directory / file).is_file() for file in _MODEL_FILES):
            last = version
            yield version, directory


class Source:
    """A model's base path that is looked at again and again, and what the log says of it.

    A base path that cannot be read is an error, logged once until it can be read again; one without a version to serve
    is a warning, repeated each minute of `clock` (seconds, monotonic).
    """

    def __init__(self, model: Model, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = model.name
        self._base_path = model.base_path
        self._policy = model.policy
        self._clock = clock
        self._readable = True
        self._next_warning = clock()

    def is_of(self, model: Model) -> bool:
        """Whether a source made for `model` would look for the same."""
        return (self.name, self._base_path, self._policy) == (model.name, model.base_path, model.policy)

    def poll(self) -> dict[int, Path] | None:
        """The versions to serve, with their directories; None if that cannot be told now."""
        try:
            versions = self._policy.choose(published(self._base_path))
        except OSError as error:
            if self._readable:
                logger.error("base path %s cannot be read: %s", self._base_path, error.strerror)  # noqa: TRY400  # it says it all
            self._readable = False
            return None
        self._readable = True
        if not versions and self._clock() >= self._next_warning:
            logger.warning(
                "base path %s holds no version to serve; is there a directory like 1/ in it?", self._base_path
            )
            self._next_warning = self._clock() + _SECONDS_BETWEEN_WARNINGS
        return versions
