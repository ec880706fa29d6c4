"""What a caller sends for one prediction, and how it becomes a row of the model's input."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from gateway.backend import Array, Signature, TensorSpec, type_name
from gateway.catalog import Servable
from gateway.errors import GatewayError, InvalidInput, PreprocessingFailed, Unsupported
from gateway.finite import is_finite
from serving import preprocessing, reference
from serving.preprocessing import InputError, Pipeline
from serving.preprocessing.many import Failure
from serving.reference import Source

log = structlog.get_logger("gateway.instances")


class Row(dict[str, Array]):
    """The model's inputs by name, without the batch dimension; `source` if they were made of an image."""

    source: Source | None = None


class Image(NamedTuple):
    """An encoded image."""

    encoded: bytes


class Pixels(NamedTuple):
    """A decoded image: uint8, (height, width, channels)."""

    array: NDArray[np.uint8]


class Tensors(NamedTuple):
    """The model's inputs by name, without the batch dimension; the name None stands for the only one."""

    values: Mapping[str | None, Array]


@dataclass(frozen=True, slots=True)
class TensorStack:
    """Instances that are alike: the model's only input, with the batch dimension. Together they take as long as one."""

    array: Array

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensors]:
        return (Tensors({None: array}) for array in self.array)


class Record(NamedTuple):
    """A row of a table: values by the columns' names, None where there is none."""

    values: preprocessing.Row


Instance = Image | Pixels | Record | Tensors
Instances = Sequence[Instance | GatewayError] | TensorStack
"""What the protocol could not read stands as its error, so that its neighbours keep their places."""


def record(values: object) -> Record:
    """The row that an object of JSON stands for; InvalidInput if it is no object.

    Whether its values are what the model takes is for the pipeline to say.
    """
    if not isinstance(values, Mapping):
        raise InvalidInput("the row is no JSON object; expected values by the columns' names", reason="ROW_UNREADABLE")
    return Record(values)


def image_rows(
    images: Sequence[Image | Pixels], servable: Servable, *, sources: bool = False
) -> list[Row | GatewayError]:
    """The row of each image, with its source if `sources`, or what is wrong with it; `pipeline_for` comes before."""
    pipeline = servable.pipeline
    assert pipeline is not None
    pixels = pipeline.decoded([image.encoded if isinstance(image, Image) else image.array for image in images])
    made = pipeline.from_decoded(pixels)
    if not sources:
        return [_row(one, servable) for one in made]
    return [_row(one, servable, source) for one, source in zip(made, reference.sources(pixels), strict=True)]


def record_rows(records: Sequence[Record], servable: Servable) -> list[Row | GatewayError]:
    """The row of each of a table's rows, or what is wrong with it; `pipeline_for` comes before."""
    assert servable.pipeline is not None
    return [_row(one, servable) for one in servable.pipeline.from_rows([record.values for record in records])]


def instances_of(inputs: Mapping[str, Array], servable: Servable, signature: Signature) -> list[Instance]:
    """What a batch holds that is yet to be preprocessed; none if it is a batch of the model's own tensors.

    Byte strings are images, where the contract takes images. Where it takes a table's rows, inputs are their columns:
    numbers, truth values, or byte strings as UTF-8; InvalidInput if their lengths differ.
    """
    contract, pipeline = servable.contract, servable.pipeline
    if contract is None or pipeline is None or signature.name != contract.signature:
        return []
    if pipeline.accepts_rows:
        return [] if not inputs or contract.input.name in inputs else list(_records(inputs))
    if not pipeline.accepts_images:
        return []
    array = inputs.get(contract.input.name)
    if (
        len(inputs) != 1
        or array is None
        or array.dtype != object
        or not array.ndim
        or array.shape[1:] not in ((), (1,))
    ):
        return []
    return [Image(encoded) for encoded in array.ravel()]


def _records(inputs: Mapping[str, Array]) -> Iterator[Record]:
    """The rows that columns, (n,) or (n, 1), make up."""
    if any(not array.ndim or array.shape[1:] not in ((), (1,)) for array in inputs.values()) or (
        len({len(array) for array in inputs.values()}) != 1
    ):
        shapes = {name: list(array.shape) for name, array in inputs.items()}
        raise InvalidInput(
            f"the columns have the shapes {shapes}; expected [n] or [n, 1], the same n", reason="TENSOR_SHAPE_MISMATCH"
        )
    try:
        columns = [
            [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]
            for array in inputs.values()
        ]
    except UnicodeDecodeError:
        raise InvalidInput("a column of byte strings is not UTF-8", reason="COLUMN_TYPE_MISMATCH") from None
    for values in zip(*columns, strict=True):
        yield Record(dict(zip(inputs, values, strict=True)))


def pipeline_for(servable: Servable, signature: Signature, what: Literal["images", "rows"]) -> Pipeline:
    """The pipeline that takes `what`; InvalidInput if the signature has none."""
    contract, pipeline = servable.contract, servable.pipeline
    if contract is None or pipeline is None or signature.name != contract.signature:
        accepted = False
    else:
        accepted = pipeline.accepts_images if what == "images" else pipeline.accepts_rows
    if pipeline is None or not accepted:
        raise InvalidInput(
            f"the signature {signature.name!r} of this model takes no {what}: {_expected(signature)}",
            reason=f"{what.upper()}_NOT_ACCEPTED",
        )
    return pipeline


def _row(made: Array | Failure, servable: Servable, source_: Source | None = None) -> Row | GatewayError:
    """What preprocessing made, of an image of that source, as a row; an error if it made none, or none that fits."""
    contract, pipeline = servable.contract, servable.pipeline
    assert contract is not None
    assert pipeline is not None
    if isinstance(made, Failure):
        return _gateway_error(made, servable)
    if pipeline.has_own and (made.shape != contract.input.shape or made.dtype != contract.input.dtype):
        return _failed(
            f"preprocessing made {made.dtype} {list(made.shape)}; "
            f"expected {contract.input.dtype} {list(contract.input.shape)}",
            servable,
        )
    if pipeline.has_own and not is_finite(made):
        return _failed("preprocessing made NaN or infinity; expected finite numbers", servable)
    row = Row({contract.input.name: made})
    row.source = source_
    return row


def _gateway_error(error: Failure, servable: Servable) -> GatewayError:
    """What a caller is told of what went wrong in preprocessing."""
    if isinstance(error, InputError):
        return InvalidInput(str(error), reason=error.reason)
    return _failed(str(error), servable, error.__cause__)


def _failed(message: str, servable: Servable, cause: BaseException | None = None) -> PreprocessingFailed:
    log.error("preprocessing failed", model=servable.model, version=servable.version, message=message, exc_info=cause)
    return PreprocessingFailed(message)


def check_batch(inputs: Mapping[str, Array], signature: Signature) -> int:
    """The number of rows of arrays with the batch dimension; 1 for a signature without. `check_finite` comes later.

    InvalidInput if they do not fit the signature.
    """
    if inputs.keys() != signature.inputs.keys():
        raise InvalidInput(
            f"the request has the tensors {sorted(inputs)}; expected {_expected_batch(signature)}",
            reason="TENSOR_NAMES_MISMATCH",
        )
    rows: set[int] = set()
    for name, array in inputs.items():
        spec = signature.inputs[name]
        _check_type(array, spec)
        if spec.shape is not None and array.shape != spec.shape:
            _check_shape(name, array.shape, spec.shape)
        if spec.batched:
            rows.update(array.shape[:1])
    if len(rows) > 1 or 0 in rows:
        raise InvalidInput(
            f"the tensors have batches of {sorted(rows)}; expected the same number of rows, 1 or more",
            reason="TENSOR_SHAPE_MISMATCH",
        )
    return rows.pop() if rows else 1


def to_row(instance: Tensors, signature: Signature) -> Row:
    """The arrays that `signature` takes for one instance, without the batch dimension; `check_finite` comes later.

    InvalidInput if the instance does not fit, Unsupported if the signature takes no batch.
    """
    inputs, row = signature.inputs, Row()
    for name, array in instance.values.items():
        if name is None and len(inputs) != 1:
            raise InvalidInput(
                f"the signature takes {len(inputs)} inputs, send them by name: {_expected(signature)}",
                reason="TENSOR_NAMES_MISMATCH",
            )
        row[next(iter(inputs)) if name is None else name] = array
    if row.keys() != inputs.keys():
        raise InvalidInput(
            f"the instance has the tensors {sorted(row)}; expected {_expected(signature)}",
            reason="TENSOR_NAMES_MISMATCH",
        )
    for name, spec in inputs.items():
        array = row[name]
        if array.dtype is not spec.dtype or array.shape != spec.row:
            _check_tensor(array, spec)
    return row


def _check_tensor(array: Array, spec: TensorSpec) -> None:
    if not spec.batched:
        raise Unsupported(
            f"the input {spec.name!r} ({spec}) has no batch dimension; call tensorflow.serving.PredictionService",
            reason="SIGNATURE_NOT_BATCHED",
        )
    _check_type(array, spec)
    if spec.shape is not None:
        wanted = spec.shape[1:]
        if array.shape != wanted:
            hint = " (an instance has no batch dimension)" if array.shape[1:] == wanted else ""
            _check_shape(spec.name, array.shape, wanted, hint)


def _check_type(array: Array, spec: TensorSpec) -> None:
    if array.dtype != spec.dtype:
        raise InvalidInput(
            f"the tensor {spec.name!r} is {type_name(array.dtype)}; expected {type_name(spec.dtype)}",
            reason="TENSOR_TYPE_MISMATCH",
        )


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], hint: str = "") -> None:
    if len(wanted) != len(shape) or any(size not in (-1, there) for size, there in zip(wanted, shape, strict=True)):
        raise InvalidInput(
            f"the tensor {name!r} has the shape {list(shape)}; expected {list(wanted)}{hint}",
            reason="TENSOR_SHAPE_MISMATCH",
        )


def _expected_batch(signature: Signature) -> str:
    """The inputs of a batch, for people."""
    return ", ".join(f"{name!r}: {spec}" for name, spec in sorted(signature.inputs.items()))


def _expected(signature: Signature) -> str:
    """The inputs of one instance, for people."""
    return ", ".join(
        f"{name!r}: {type_name(spec.dtype)} {'any shape' if spec.shape is None else list(spec.shape[1:])}"
        for name, spec in sorted(signature.inputs.items())
    )
