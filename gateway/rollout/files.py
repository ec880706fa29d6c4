"""Small files that many write and nobody overwrites unseen: on a file system, or as objects in a bucket."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class PlaceError(Exception):
    """A place where files cannot be kept."""


class Files(Protocol):
    """Files below one place, by relative names. Every method raises OSError."""

    def read(self, name: str) -> bytes | None:
        """The content; None if there is none."""

    def create(self, name: str, content: bytes) -> None:
        """Writes a new file, of several writers for one alone; FileExistsError for the others."""

    def replace(self, name: str, content: bytes) -> None:
        """Writes the file whole, or leaves it as it was."""

    def names(self, directory: str) -> list[str]:
        """The files' names in a directory; none if there is none."""


def open_files(url: str) -> Files:
    """The files below a path or a URL. PlaceError if none can be created there without overwriting others'."""
    protocol, separator, path = url.partition("://")
    if not separator or protocol in ("file", "local"):
        return LocalFiles(Path(path if separator else url))
    if protocol not in ("gs", "gcs", "s3", "s3a", "memory"):
        raise PlaceError(f"rollout.plans is {url}; expected a path, file://, gs:// or s3://")
    # Only for buckets: it takes a tenth of a second to import.
    import fsspec  # noqa: PLC0415

    try:
        # What other replicas write has to be seen at once.
        file_system, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise PlaceError(f"rollout.plans is {url}: {error} (requirements/object-stores.txt has it)") from error
    return ObjectFiles(file_system, root)


class LocalFiles:
    """On a file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes | None:
        """The content; None if there is none."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> None:
        """A file appears complete: it is linked to its name once it is on the disk."""
        with self._written(name, content) as scratch:
            os.link(scratch, self._root / name)

    def replace(self, name: str, content: bytes) -> None:
        """By renaming."""
        with self._written(name, content) as scratch:
            scratch.replace(self._root / name)

    def names(self, directory: str) -> list[str]:
        """The files' names, but for those that are being written."""
        try:
            return [path.name for path in (self._root / directory).iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with scratch.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield scratch
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            scratch.unlink(missing_ok=True)


class ObjectFiles:
    """In a bucket, where writing an object is atomic and can be made to depend on there being none."""

    def __init__(self, file_system: Any, root: str) -> None:
        self._fs = file_system
        self._root = root

    def read(self, name: str) -> bytes | None:
        """The content; None if there is none."""
        with _os_errors():
            try:
                content: bytes = self._fs.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
            return content

    def create(self, name: str, content: bytes) -> None:
        """Refused by the store itself if there is one."""
        with _os_errors():
            self._fs.pipe_file(f"{self._root}/{name}", content, mode="create")

    def replace(self, name: str, content: bytes) -> None:
        """In one step."""
        with _os_errors():
            self._fs.pipe_file(f"{self._root}/{name}", content)

    def names(self, directory: str) -> list[str]:
        """The objects' names."""
        with _os_errors():
            try:
                paths = self._fs.ls(f"{self._root}/{directory}", detail=False)
            except FileNotFoundError:
                return []
            return [str(path).rstrip("/").rpartition("/")[2] for path in paths]


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Libraries have errors of their own for what is no answer: no credentials, no connection, an odd status."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
