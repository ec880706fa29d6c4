"""The model store on a file system: a version is a directory that is renamed when it is complete, and on the disk."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from trainer import version

# Servers load directories whose names are integers, and no others.
_UNFINISHED = ".unfinished-"
_LOCK = ".lock"


class LocalStore:
    """The versions of one model in `directory`; methods raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def check(self) -> None:
        """Makes the directory, and tries whether a version could be written into it."""
        with self._locked():
            self._unfinished().rmdir()

    def publish(self, write: Callable[[Path], None]) -> int:
        """Has `write` fill a new directory, and makes that the next version; its number."""
        with self._locked() as lock:
            # The lock dies with its holder: whatever is unfinished now, nobody is at work on.
            for stale in self._directory.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(stale, ignore_errors=True)
            unfinished = self._unfinished()
            try:
                write(unfinished)
                _sync(unfinished)
                return self._number(unfinished, lock)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def complete(self) -> list[int]:
        """The versions that a server would load."""
        return [
            number for name, number in self._versions().items() if (self._directory / name / version.MODEL).exists()
        ]

    def read(self, name: str) -> bytes | None:
        """The file `name` beside the versions; None if there is none."""
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, number: int) -> None:
        """Removes a version; servers see it whole or not at all."""
        for name in version.named(self._versions(), number):
            # Emptied by the next publisher if this one does not come to it.
            going = self._directory / f"{_UNFINISHED}{secrets.token_hex(4)}"
            with contextlib.suppress(FileNotFoundError):
                (self._directory / name).rename(going)
            shutil.rmtree(going, ignore_errors=True)

    def _unfinished(self) -> Path:
        directory = self._directory / f"{_UNFINISHED}{secrets.token_hex(4)}"
        directory.mkdir()
        return directory

    def _number(self, unfinished: Path, lock: IO[str]) -> int:
        """Renames to the next version; a publisher whom the lock does not reach may take that first."""
        while True:
            number = version.after(self._versions().values(), _recorded(lock))
            _record(lock, number)
            path = self._directory / str(number)
            try:
                unfinished.rename(path)
            except OSError:
                if not path.exists():
                    raise
            else:
                _sync_one(self._directory)
                return number

    def _versions(self) -> dict[str, int]:
        return version.numbers(path.name for path in self._directory.iterdir())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        """Holds the lock file, in which the highest number stands that was ever given."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / _LOCK
        path.touch()
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock


def _recorded(lock: IO[str]) -> list[int]:
    lock.seek(0)
    return list(version.numbers([lock.read(20).strip()]).values())


def _record(lock: IO[str], number: int) -> None:
    # Never shorter than what it overwrites, and never nothing in between.
    lock.seek(0)
    lock.write(str(number))
    lock.flush()
    os.fsync(lock.fileno())


def _sync(directory: Path) -> None:
    """Brings a directory with all that is in it to the disk: a rename may otherwise get there before the contents."""
    for path in directory.rglob("*"):
        _sync_one(path)
    _sync_one(directory)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
