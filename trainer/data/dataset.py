"""Inputs with what is to be said of them, whatever their source."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.model_selection import train_test_split

from serving.preprocessing import Pipeline, Step, StepFailedError
from serving.preprocessing.decode import decode
from serving.preprocessing.table import Value
from serving.reference import Source, source
from trainer.errors import TrainingError


@dataclass(frozen=True)
class Dataset:
    """Images or rows of a table, each with its class or its value."""

    inputs: NDArray[Any]
    """Pixels, uint8 (n, height, width); or image files, Path (n,); or a table's values, object (n, columns), None for
    none; or tensors, where these took their place."""
    targets: NDArray[Any]
    """(n,): class numbers from 0, int64; or values, float32."""
    source: str
    """Where they come from, for people."""
    labels: tuple[str, ...] = ()
    """Class names by number; none where the targets are values."""
    columns: tuple[str, ...] = ()
    """Names of a table's columns; none where the inputs are images."""

    @property
    def digest(self) -> str:
        """SHA-256 of inputs and targets: of a file its bytes count, not its name."""
        total = hashlib.sha256()
        whole = self.columns or self.inputs.dtype != object
        for chunk in [b"".join(self._chunks())] if whole else self._chunks():
            # Of each its own hash, so that bytes cannot move from one file to the next unnoticed.
            total.update(hashlib.sha256(chunk).digest())
        total.update(self.targets.astype(self.targets.dtype.newbyteorder("<")).tobytes())
        return total.hexdigest()

    @property
    def fingerprints(self) -> NDArray[np.uint64]:
        """A hash of each input, (n,), by which an example is known again in other data; targets do not count."""
        hashes = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in self._chunks())
        return np.frombuffer(hashes, "<u8").astype(np.uint64)

    def rows(self, names: Collection[str]) -> list[dict[str, Value]]:
        """A table's rows, of the columns called `names`; TrainingError if it has not all of them."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = ", ".join(self.columns) or "none: they are images"
            raise TrainingError(f"expected the columns {', '.join(missing)} too; there are {there}")
        places = [self.columns.index(name) for name in names]
        return [dict(zip(names, row, strict=True)) for row in self.inputs[:, places].tolist()]

    def _chunks(self) -> Iterator[bytes]:
        """The bytes of each input."""
        if self.columns:
            return map(_row_bytes, self.inputs.tolist())
        return (_read(row) if self.inputs.dtype == object else row.tobytes() for row in self.inputs)

    @property
    def balance(self) -> str:
        """How many there are of each class, for people."""
        counts = np.bincount(self.targets, minlength=len(self.labels))
        return ", ".join(f"{label} {count}" for label, count in zip(self.labels, counts, strict=True))

    def part(self, indices: Sequence[int] | NDArray[Any]) -> "Dataset":
        """Those at `indices`, in that order."""
        return dataclasses.replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def encoded(self, index: int) -> tuple[bytes, str]:
        """An image as the bytes of a file, and the suffix of the file's name: pixels become a PNG."""
        image = self.inputs[index]
        return (png(image), ".png") if isinstance(image, np.ndarray) else (_read(image), image.suffix)

    def pixels(self, index: int, step: Step) -> NDArray[np.uint8]:
        """An image as pixels, (height, width, channels), as the pipeline's first `step`, `decode`, makes them."""
        return decode(self.encoded(index)[0], **step.parameters)

    def sources(self, step: Step) -> list[Source]:
        """What drift is measured on of each image as it comes, decoded by the pipeline's first `step`."""
        if self.inputs.dtype == object:
            return [source(self.pixels(index, step)) for index in range(len(self.inputs))]
        return [source(np.atleast_3d(image)) for image in self.inputs]


def png(image: NDArray[np.uint8]) -> bytes:
    """An image, (height, width) or (height, width, channels), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def split(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Two parts, the second with `share`, picked by `seed`: of each class where there are classes."""
    counts = np.bincount(dataset.targets) if dataset.labels else np.array([], int)
    if (counts == 1).any():
        label = dataset.labels[int((counts == 1).argmax())]
        raise TrainingError(f"the data cannot be split: the class {label!r} has 1 example, expected 2 or more")
    try:
        parts = train_test_split(
            np.arange(dataset.targets.size),
            test_size=share,
            stratify=dataset.targets if dataset.labels else None,
            random_state=seed,
        )
    except ValueError as error:
        raise TrainingError(f"the data cannot be split: {error}") from error
    first, second = map(dataset.part, parts)
    return first, second


def tensors(pipeline: Pipeline, dataset: Dataset) -> NDArray[np.float32]:
    """What the network takes: (n, *shape of one), float32.

    TrainingError if an image or a row cannot be read, or the pipeline makes of it what no network takes.
    """
    if pipeline.accepts_rows:
        made = [_made(each) for each in pipeline.from_rows(dataset.rows([column.name for column in pipeline.columns]))]
    else:
        made = [_tensor(pipeline, image) for image in dataset.inputs]
    try:
        result: NDArray[Any] = np.stack(made)
    except ValueError as error:
        raise TrainingError(f"preprocessing: {error}") from error
    if result.dtype != np.float32:
        raise TrainingError(f"preprocessing makes {result.dtype}, the network takes float32: end it with `cast`")
    return result


def _row_bytes(row: list[Value]) -> bytes:
    """What tells one row from another: of numbers their bytes as float32."""
    if any(value is None or isinstance(value, str) for value in row):
        return json.dumps(row).encode()
    with np.errstate(over="ignore"):
        return np.array(row, np.float32).tobytes()


def _made(result: NDArray[Any] | Exception) -> NDArray[Any]:
    if isinstance(result, Exception):
        raise _refused(result) from result
    return result


def _refused(error: Exception, place: str = "") -> TrainingError:
    # What a step of one's own raised is for its owner, who trains.
    cause = f": {error.__cause__}" if isinstance(error, StepFailedError) and error.__cause__ else ""
    return TrainingError(f"preprocessing: {place}{error}{cause}")


def _tensor(pipeline: Pipeline, image: Any) -> NDArray[Any]:
    try:
        if isinstance(image, np.ndarray):
            return pipeline.from_pixels(image[:, :, np.newaxis])
        return pipeline(_read(image))
    except (StepFailedError, ValueError, IndexError) as error:
        place = "" if isinstance(image, np.ndarray) else f"{image}: "
        raise _refused(error, place) from error


def _read(path: Any) -> bytes:
    try:
        content: bytes = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}") from error
    return content
