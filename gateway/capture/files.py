"""Where captured requests lie: a directory or bucket, in files that are complete as soon as they are there."""

import contextlib
import re
import secrets
from datetime import UTC, datetime

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gateway.capture.records import CaptureError

SUFFIX = ".tfrecord"
_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-\d{6}\.tfrecord")


class Directory:
    """The files of one model in the directory or bucket `path`; oldest first by name.

    CaptureError if there is no file system for such a path.
    """

    def __init__(self, path: str, model: str, max_total_bytes: int) -> None:
        try:
            self._files, base = fsspec.core.url_to_fs(path)
        except (ImportError, ValueError) as error:
            raise CaptureError(f"capture.path: {path}: {error}") from error
        self._path = f"{base.rstrip('/')}/{model}"
        self._max_total_bytes = max_total_bytes
        # Replicas share a bucket.
        self._replica = secrets.token_hex(4)
        self._count = 0

    def publish(self, content: bytes) -> None:
        """Makes a file of `content` appear at once, and removes the oldest beyond the limit; OSError and its like."""
        self._count += 1
        path = f"{self._path}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._replica}-{self._count:06}{SUFFIX}"
        if isinstance(self._files, LocalFileSystem):
            self._files.makedirs(self._path, exist_ok=True)
            partial = f"{path}.partial"
            try:
                self._files.pipe_file(partial, content)
                self._files.mv(partial, path)
            except BaseException:
                if self._files.exists(partial):
                    self._files.rm_file(partial)
                raise
        else:
            # An object is not there before all of it is.
            self._files.pipe_file(path, content)
        self._prune()

    def _prune(self) -> None:
        self._files.invalidate_cache(self._path)
        listed = self._files.ls(self._path, detail=True)
        ours = sorted((name, each) for each in listed if _NAME.fullmatch(name := each["name"].rpartition("/")[2]))
        total = sum(each["size"] for _, each in ours)
        # The newest stays, however large.
        for _, each in ours[:-1]:
            if total <= self._max_total_bytes:
                break
            # Another replica may have been first.
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(each["name"])
            total -= each["size"]
