"""What MLflow is to know of a run, kept in files until MLflow has it all."""

import contextlib
import fcntl
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.validation import problems
from trainer.errors import TrainingError

_FILE, _LOCK = "run.json", ".lock"
# Held by the process that is at work on an unfinished record; it keeps the file when the record is complete.
_BEGUN = ".begun"
_UNFINISHED = ".unfinished-"

STORE_VERSION: Final = "model_store.version"
STORE_PATH: Final = "model_store.path"

Status = Literal["FINISHED", "FAILED", "KILLED"]


def milliseconds() -> int:
    """Now, since 1970."""
    return int(time.time() * 1000)


class Metric(BaseModel):
    """A figure at an epoch, or 0 where it is of none."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    name: str
    value: float
    step: int = 0
    timestamp: int = Field(default_factory=milliseconds)
    """Milliseconds since 1970."""


class Trial(BaseModel):
    """A trial of a search: a run within the run."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    number: int
    settings: Mapping[str, str]
    """Values as JSON, by dotted name."""
    ended: str
    """"complete", "pruned", or what went wrong."""
    metrics: list[Metric]
    finished: int = Field(default_factory=milliseconds)
    """Milliseconds since 1970."""


class Version(BaseModel):
    """A version in the model store that the registry is to have."""

    model_config = ConfigDict(frozen=True)

    number: str
    path: str
    tags: Mapping[str, str]
    promote: bool
    """Whether it becomes the champion at once."""

    @property
    def place(self) -> dict[str, str]:
        """The tags that tie a run and a registered version to it."""
        return {STORE_VERSION: self.number, STORE_PATH: self.path}


class Record(BaseModel):
    """A run: what becomes params, tags and metrics. The artifacts are files in the record's directory."""

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Of the record; the run in MLflow has it as the tag `record.id`."""
    model: str
    """The experiment's and the registered model's name."""
    uri: str
    """The tracking server that `run_id` is of."""
    run_id: str | None = None
    """MLflow's id, once there is a run."""
    started: int = Field(default_factory=milliseconds)
    ended: int = 0
    """Both in milliseconds since 1970."""
    status: Status = "FINISHED"
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[Metric] = []
    trials: list[Trial] = []
    version: Version | None = None


class Records:
    """The records in `directory` that MLflow does not have yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def begun(self, record: Record) -> Iterator[Path]:
        """A directory for the artifacts of a record that is not complete yet, while the context lasts.

        Those that killed processes left are removed.
        """
        unfinished = self._unfinished(record)
        artifacts = unfinished / "artifacts"
        with contextlib.ExitStack() as held:
            self._directory.mkdir(parents=True, exist_ok=True)
            with _lock(self._directory / _LOCK):
                for left in self._directory.glob(f"{_UNFINISHED}*"):
                    with contextlib.suppress(OSError), _lock(left / _BEGUN, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        shutil.rmtree(left)
                artifacts.mkdir(parents=True)
                held.enter_context(_lock(unfinished / _BEGUN))
            held.callback(shutil.rmtree, unfinished, ignore_errors=True)
            yield artifacts

    def complete(self, record: Record) -> Path:
        """Keeps the record, with its artifacts, until it is removed; its directory."""
        unfinished, kept = self._unfinished(record), self._directory / record.id
        save(unfinished, record)
        unfinished.rename(kept)
        return kept

    def remove(self, kept: Path) -> None:
        """Forgets a record that MLflow has. Killed on the way, it leaves nothing that would be uploaded again."""
        done = self._directory / f"{_UNFINISHED}{kept.name}"
        kept.rename(done)
        shutil.rmtree(done, ignore_errors=True)

    def kept(self) -> list[Path]:
        """The directories of the complete ones, the oldest first."""
        found = self._directory.glob(f"[!.]*/{_FILE}")
        return [path.parent for path in sorted(found, key=lambda path: (path.stat().st_mtime, path))]

    @contextlib.contextmanager
    def opened(self, kept: Path) -> Iterator[Record | None]:
        """A kept record for one process alone, others wait; None if one of them has removed it meanwhile.

        TrainingError if it cannot be read.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(_lock(kept / _LOCK))
            except FileNotFoundError:
                yield None
            else:
                yield _load(kept / _FILE) if (kept / _FILE).exists() else None

    def _unfinished(self, record: Record) -> Path:
        return self._directory / f"{_UNFINISHED}{record.id}"


@contextlib.contextmanager
def _lock(path: Path, operation: int = fcntl.LOCK_EX) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, operation)
        yield


def artifacts(kept: Path) -> Path:
    """The directory with a kept record's artifacts."""
    return kept / "artifacts"


def save(directory: Path, record: Record) -> None:
    """Replaces the record in `directory` as a whole."""
    scratch = directory / f".{_FILE}"
    scratch.write_text(record.model_dump_json(), "utf-8")
    scratch.replace(directory / _FILE)


def _load(path: Path) -> Record:
    try:
        return Record.model_validate_json(path.read_text("utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise TrainingError(f"{path}: {problems(error)}") from error
