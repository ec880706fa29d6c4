"""What a killed run is resumed from."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainingError

_log = logging.getLogger(__package__)


class Checkpoint:
    """Arrays by name in a file in `directory`, of a run that `key` tells from every other.

    The file is replaced as a whole or not at all.
    """

    def __init__(self, directory: Path, key: str, *, resume: bool) -> None:
        self._path = directory / f".checkpoint-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        self._resume = resume

    def load(self) -> dict[str, NDArray[Any]]:
        """What was saved last; nothing where nothing was, or where the run is not to be resumed."""
        if not self._resume:
            return {}
        if not self._path.exists():
            _log.info("no checkpoint of this recipe on these data: starting at the first epoch")
            return {}
        with np.load(self._path) as arrays:
            return dict(arrays)

    def save(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replaces what was saved before; TrainingError if it cannot be written."""
        unfinished = self._path.with_suffix(".unfinished.npz")
        try:
            np.savez(unfinished, allow_pickle=False, **arrays)
            unfinished.replace(self._path)
        except OSError as error:
            raise TrainingError(f"cannot save {self._path}: {error.strerror or error}") from error

    def remove(self) -> None:
        """Removes the file: the run has ended well."""
        self._path.unlink(missing_ok=True)
