"""The model store: `<base>/<name>/<version>/`, versions numbered from 1, which servers poll."""

import contextlib
import fcntl
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.errors import TrainingError

# Servers load directories whose names are integers, and no others.
_UNFINISHED = ".unfinished-"
_LOCK = ".lock"


class ModelStore:
    """The versions of one model. A version appears complete or not at all."""

    def __init__(self, base: Path, name: str) -> None:
        self.directory = base / name
        """Has the versions; servers do not look at names that are no integers."""

    def check(self) -> None:
        """TrainingError if nothing can be published: better known before training than after."""
        with self._locked():
            pass

    def publish(self, write: Callable[[Path], None]) -> Path:
        """Has `write` fill a new directory, and makes that the next version; the path of the version.

        Nothing is published if `write` fails. TrainingError if the store cannot be written.
        """
        with self._locked():
            # The lock dies with its holder: whatever is unfinished now, nobody is at work on.
            for stale in self.directory.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(stale, ignore_errors=True)
            unfinished = self.directory / f"{_UNFINISHED}{secrets.token_hex(4)}"
            try:
                unfinished.mkdir()
                write(unfinished)
                return self._number(unfinished)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _number(self, unfinished: Path) -> Path:
        """Renames to the next free version; a publisher whom the lock does not reach may take that first."""
        while True:
            version = self.directory / str(1 + max(self._versions(), default=0))
            try:
                return unfinished.rename(version)
            except OSError:
                if not version.exists():
                    raise

    def _versions(self) -> Iterator[int]:
        return (int(path.name) for path in self.directory.iterdir() if path.name.isascii() and path.name.isdigit())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise TrainingError(f"cannot publish to {self.directory}: {error.strerror or error}") from error
