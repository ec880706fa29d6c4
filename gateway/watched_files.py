"""Files that may change while the gateway runs."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp:
    """What changes with the file's content: times, size, identity. OSError if there is none."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class WatchedFiles:
    """Some files and what they were when last looked at."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()

    def changed(self) -> bool:
        """Whether any is another, or has come or gone, since the last look."""
        before, self._stamps = self._stamps, self._look()
        return before != self._stamps

    def _look(self) -> list[Stamp | None]:
        found: list[Stamp | None] = []
        for path in self._paths:
            try:
                found.append(stamp(path))
            except OSError:
                found.append(None)
        return found
