"""The model store in a bucket, where nothing can be renamed: objects appear one by one, `saved_model.pb` last."""

import contextlib
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from trainer import version

_CLAIMS = ".claims"
LEASE = timedelta(minutes=15)
"""How long a publisher that gives no sign of life is waited for."""
_SIGNS = 5  # of life, in a lease
_RELEASED = b""


@dataclass(frozen=True)
class _Claim:
    """A version's number, which one publisher at a time has: an object that holds its token."""

    number: int
    token: bytes


class ObjectStore:
    """The versions of one model below `path` of a file system of objects; methods raise OSError.

    A publisher claims a number by creating `.claims/<number>`, which succeeds for one alone, renews the claim while it
    uploads, and empties it at the end. What a publisher left that has not renewed its claim for a LEASE, the next
    removes; should it yet wake, it finds its claim emptied and publishes nothing.
    """

    def __init__(self, file_system: AbstractFileSystem, path: str) -> None:
        self._fs: Any = _Answering(file_system)
        self._path = path

    def check(self) -> None:
        """Tries whether objects can be written and deleted."""
        probe = f"{self._path}/{_CLAIMS}/check-{secrets.token_hex(4)}"
        self._fs.pipe_file(probe, b"")
        self._fs.rm_file(probe)

    def publish(self, write: Callable[[Path], None]) -> int:
        """Has `write` fill a directory of this machine, and uploads it as the next version; its number."""
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch, "model")
            directory.mkdir()
            write(directory)
            claim = self._claim()
            with self._renewed(claim):
                try:
                    self._clear(claim)
                    self._upload(directory, claim)
                except BaseException:
                    self._discard(claim.number)
                    raise
                finally:
                    # Where this fails the lease runs out.
                    with contextlib.suppress(OSError):
                        self._fs.pipe_file(self._claim_path(claim.number), _RELEASED)
        return claim.number

    def complete(self) -> list[int]:
        """The versions that a server would load."""
        return [number for name, number in self._versions().items() if self._has_model(name)]

    def read(self, name: str) -> bytes | None:
        """The object `name` beside the versions; None if there is none."""
        with contextlib.suppress(FileNotFoundError):
            content: bytes = self._fs.cat_file(f"{self._path}/{name}")
            return content
        return None

    def remove(self, number: int) -> None:
        """Removes a version, first the object without which it is none."""
        for name in version.named(self._versions(), number):
            self._remove(f"{self._path}/{name}/{version.MODEL}")
            self._remove(f"{self._path}/{name}", recursive=True)

    def _claim(self) -> _Claim:
        number = version.after(self._versions().values(), self._claims())
        token = secrets.token_hex(16).encode()
        while True:
            try:
                self._fs.pipe_file(self._claim_path(number), token, mode="create")
            except FileExistsError:
                number += 1
            else:
                return _Claim(number, token)

    def _clear(self, own: _Claim) -> None:
        """Removes what publishers left that have ended."""
        # By the store's clock: nobody's here counts.
        now = self._fs.modified(self._claim_path(own.number))
        for number in self._claims():
            path = self._claim_path(number)
            try:
                held = self._fs.cat_file(path) != _RELEASED
                if number == own.number or (held and now - self._fs.modified(path) < LEASE):
                    continue
                if held:
                    self._fs.pipe_file(path, _RELEASED)
            except FileNotFoundError:
                continue  # another publisher was faster
            if not self._has_model(str(number)):
                self._discard(number)
            # The highest stays: it says which numbers were given.
            if number < own.number:
                self._remove(path)

    def _upload(self, directory: Path, claim: _Claim) -> None:
        remote = f"{self._path}/{claim.number}"
        files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
        model = files.pop(version.MODEL)
        self._fs.put([str(path) for path in files.values()], [f"{remote}/{name}" for name in files])
        found = {name.rpartition(f"/{claim.number}/")[2]: info["size"] for name, info in self._find(remote).items()}
        if found != {name: path.stat().st_size for name, path in files.items()}:
            raise OSError("what was uploaded is not what is there")
        self._check_held(claim)
        self._fs.put_file(str(model), f"{remote}/{version.MODEL}")
        self._check_held(claim)

    def _check_held(self, claim: _Claim) -> None:
        if self.read(f"{_CLAIMS}/{claim.number}") != claim.token:
            raise OSError(f"version {claim.number} was given up: nothing was heard of it for {LEASE}")

    @contextlib.contextmanager
    def _renewed(self, claim: _Claim) -> Iterator[None]:
        """Renews a claim again and again meanwhile."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(LEASE.total_seconds() / _SIGNS):
                # What fails is tried again; in the end the claim is looked at.
                with contextlib.suppress(OSError):
                    self._check_held(claim)
                    self._fs.pipe_file(self._claim_path(claim.number), claim.token)

        thread = threading.Thread(target=renew, name="claim", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _discard(self, number: int) -> None:
        """Removes a version that was not finished, or not rightly so."""
        with contextlib.suppress(OSError):
            self.remove(number)

    def _versions(self) -> dict[str, int]:
        return version.numbers(self._names(self._path))

    def _claims(self) -> list[int]:
        return list(version.numbers(self._names(f"{self._path}/{_CLAIMS}")).values())

    def _claim_path(self, number: int) -> str:
        return f"{self._path}/{_CLAIMS}/{number}"

    def _names(self, path: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [name.rstrip("/").rpartition("/")[2] for name in self._fs.ls(path, detail=False)]
        return []

    def _find(self, path: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self._fs.find(path, detail=True)
        return found

    def _has_model(self, name: str) -> bool:
        return bool(self._fs.exists(f"{self._path}/{name}/{version.MODEL}"))

    def _remove(self, path: str, *, recursive: bool = False) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(path, recursive=recursive)


class _Answering:
    """A file system whose every failure is an OSError; libraries have errors of their own for what is no answer."""

    def __init__(self, file_system: AbstractFileSystem) -> None:
        self._fs = file_system

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._fs, name)

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except OSError:
                raise
            except Exception as error:
                # No credentials, no connection, a status that was not expected: each library has its own.
                raise OSError(" ".join(str(error).split()) or type(error).__name__) from error

        return call
