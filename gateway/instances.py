"""What a caller sends for one prediction, and how it becomes a row of the model's input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.backend import Array, Signature, TensorSpec, type_name
from gateway.catalog import Servable
from gateway.errors import GatewayError, InvalidInput, Unsupported
from serving.preprocessing import InputError

Row = Mapping[str, Array]
# What the method `all` comes to, at half its price.
_all = np.logical_and.reduce


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image."""

    encoded: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded image: uint8, (height, width, channels)."""

    array: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tensors:
    """The model's inputs by name, without the batch dimension; the name None stands for the only one."""

    values: Mapping[str | None, Array]


Instance = Image | Pixels | Tensors


def check_takes_images(servable: Servable, signature: Signature) -> None:
    """InvalidInput unless the signature is the one that a contract makes images fit for."""
    if servable.contract is None or servable.pipeline is None or signature.name != servable.contract.signature:
        raise InvalidInput(
            f"the signature {signature.name!r} of this model takes tensors, not images: {_expected(signature)}",
            reason="IMAGES_NOT_ACCEPTED",
        )


def image_rows(images: Sequence[Image | Pixels], servable: Servable) -> list[Row | GatewayError]:
    """The row of each image, or what is wrong with it; `check_takes_images` comes before."""
    assert servable.contract is not None
    assert servable.pipeline is not None
    name = servable.contract.input.name
    made = servable.pipeline.many([image.encoded if isinstance(image, Image) else image.array for image in images])
    return [InvalidInput(str(one), reason=one.reason) if isinstance(one, InputError) else {name: one} for one in made]


def images_of(inputs: Mapping[str, Array], servable: Servable, signature: Signature) -> list[Instance]:
    """The images that a batch of byte strings holds, where the contract takes images; none for a batch of tensors."""
    contract, pipeline = servable.contract, servable.pipeline
    if contract is None or pipeline is None or not pipeline.accepts_images or signature.name != contract.signature:
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


def check_batch(inputs: Mapping[str, Array], servable: Servable, signature: Signature) -> int:
    """The number of rows of arrays with the batch dimension; 1 for a signature without.

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
        if spec.shape is not None:
            _check_shape(name, array.shape, spec.shape)
        if spec.batched:
            rows.update(array.shape[:1])
        _check_finite(name, array, servable)
    if len(rows) > 1 or 0 in rows:
        raise InvalidInput(
            f"the tensors have batches of {sorted(rows)}; expected the same number of rows, 1 or more",
            reason="TENSOR_SHAPE_MISMATCH",
        )
    return rows.pop() if rows else 1


def to_row(instance: Tensors, servable: Servable, signature: Signature) -> Row:
    """The arrays that `signature` takes for one instance, without the batch dimension.

    InvalidInput if the instance does not fit, Unsupported if the signature takes no batch.
    """
    values: dict[str, Array] = {}
    for name, array in instance.values.items():
        if name is None:
            if len(signature.inputs) != 1:
                raise InvalidInput(
                    f"the signature takes {len(signature.inputs)} inputs, send them by name: {_expected(signature)}",
                    reason="TENSOR_NAMES_MISMATCH",
                )
            values[next(iter(signature.inputs))] = array
        else:
            values[name] = array
    if values.keys() != signature.inputs.keys():
        raise InvalidInput(
            f"the instance has the tensors {sorted(values)}; expected {_expected(signature)}",
            reason="TENSOR_NAMES_MISMATCH",
        )
    for name, array in values.items():
        _check_tensor(array, signature.inputs[name])
        _check_finite(name, array, servable)
    return values


def _check_tensor(array: Array, spec: TensorSpec) -> None:
    if not spec.batched:
        raise Unsupported(
            f"the input {spec.name!r} ({spec}) has no batch dimension; call tensorflow.serving.PredictionService",
            reason="SIGNATURE_NOT_BATCHED",
        )
    _check_type(array, spec)
    if spec.shape is not None:
        wanted = spec.shape[1:]
        hint = " (an instance has no batch dimension)" if array.shape[1:] == wanted else ""
        _check_shape(spec.name, array.shape, wanted, hint)


def _check_type(array: Array, spec: TensorSpec) -> None:
    if array.dtype != spec.dtype:
        raise InvalidInput(
            f"the tensor {spec.name!r} is {type_name(array.dtype)}; expected {type_name(spec.dtype)}",
            reason="TENSOR_TYPE_MISMATCH",
        )


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], hint: str = "") -> None:
    if shape != wanted and (
        len(wanted) != len(shape) or any(size not in (-1, there) for size, there in zip(wanted, shape, strict=True))
    ):
        raise InvalidInput(
            f"the tensor {name!r} has the shape {list(shape)}; expected {list(wanted)}{hint}",
            reason="TENSOR_SHAPE_MISMATCH",
        )


def _check_finite(name: str, array: Array, servable: Servable) -> None:
    kind: Any = array.dtype.kind
    # "V" is how numpy files the types that it does not know itself, such as bfloat16.
    if servable.contract is not None and kind in "fcV" and not _all(np.isfinite(array), axis=None):
        raise InvalidInput(
            f"the tensor {name!r} holds NaN or infinity; expected finite numbers", reason="TENSOR_NOT_FINITE"
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
