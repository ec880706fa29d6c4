"""The model store: `<base>/<name>/<version>/`, versions numbered from 1, which servers poll."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import fsspec

from trainer import retention
from trainer.errors import TrainingError
from trainer.local_store import LocalStore
from trainer.object_store import ObjectStore

# Whose stores create an object only if there is none, in one step.
_OBJECT_STORES = ("gs", "gcs", "s3", "s3a", "memory")
_CHECKPOINTS = Path("var/checkpoints")
_log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Published:
    """A version in the store."""

    number: int
    location: str
    """Its path, or the URL of its directory."""


class _Store(Protocol):
    """What a kind of store can do with the versions of one model; OSError where it fails."""

    def check(self) -> None: ...
    def publish(self, write: Callable[[Path], None]) -> int: ...
    def complete(self) -> list[int]: ...
    def read(self, name: str) -> bytes | None: ...
    def remove(self, number: int) -> None: ...


class ModelStore:
    """The versions of one model, below a path or a URL: `file://`, `gs://` or `s3://`.

    A version appears complete or not at all, and no number is given twice. TrainingError if `base` is of another kind,
    or the package for it is not installed.
    """

    def __init__(self, base: str | Path, name: str) -> None:
        protocol, path = fsspec.core.split_protocol(str(base))
        self._store: _Store
        if protocol in (None, "file", "local"):
            self.scratch = Path(path) / name
            """A directory on this machine for what is not published."""
            self.location = str(self.scratch)
            self._store = LocalStore(self.scratch)
        elif protocol in _OBJECT_STORES:
            self.scratch = _CHECKPOINTS / name
            self.location = f"{str(base).rstrip('/')}/{name}"
            self._store = ObjectStore(*_file_system(self.location))
        else:
            raise TrainingError(f"{base}: expected a model store as a path, file://, gs:// or s3://")

    def check(self) -> None:
        """TrainingError if nothing can be published: better known before training than after."""
        with self._errors("publish to"):
            self._store.check()
            self.scratch.mkdir(parents=True, exist_ok=True)

    def publish(self, write: Callable[[Path], None]) -> Published:
        """Has `write` fill a new directory on this machine, and makes that the next version.

        Nothing is published if `write` fails. TrainingError if the store cannot be written.
        """
        with self._errors("publish to"):
            number = self._store.publish(write)
        return Published(number, f"{self.location}/{number}")

    def prune(self, keep: int | None, protected: Iterable[int] = ()) -> list[int]:
        """Removes all but the newest `keep` versions; the numbers of those that went. None keeps all.

        What the roll-out plan names stays, and so do those `protected`; a plan that cannot be read keeps all. A store
        that cannot be written is a warning: what was published is published.
        """
        removed: list[int] = []
        if keep is None:
            return removed
        try:
            with self._errors("prune"):
                plan = self._store.read(retention.PLAN)
                surplus = retention.surplus(self._store.complete(), keep, {*protected, *retention.planned(plan)})
                for number in surplus:
                    self._store.remove(number)
                    removed.append(number)
        except (TrainingError, retention.PlanError) as error:
            _log.warning("old versions are kept: %s", error)
        if removed:
            _log.info("removed old versions: %s", ", ".join(map(str, removed)))
        return removed

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(f"cannot {action} {self.location}: {error.strerror or error}") from error


def _file_system(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        # What other publishers do has to be seen at once.
        found: tuple[fsspec.AbstractFileSystem, str] = fsspec.core.url_to_fs(
            url, use_listings_cache=False, skip_instance_cache=True
        )
    except ImportError as error:
        raise TrainingError(f"{url}: {error} (requirements/object-stores.txt has it)") from error
    return found
