"""The contract: what a model says of itself to whoever serves it. It travels inside the SavedModel (docs/adr/0003).

The trainer writes it, the gateway reads it over the wire, and both validate it with the one model below.
"""

import base64
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from serving.preprocessing import Pipeline, Step, StepError, StepFailedError, build
from serving.validation import problems

SCHEMA_VERSION: Final = 1
# The extra signature that carries the contract, and the names of its input and output tensors.
SIGNATURE, VERSIONS_INPUT, JSON_OUTPUT = "contract", "versions", "contract"


class ContractError(ValueError):
    """A contract that cannot be read, or that the model does not keep."""


def _decode_base64(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("expected base64 text")
    return base64.b64decode(value, validate=True)


Base64 = Annotated[
    bytes, PlainValidator(_decode_base64), PlainSerializer(lambda value: base64.b64encode(value).decode(), str)
]
# The types of a model's input that preprocessing can make.
InputType = Literal["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class InputSpec(_Part):
    """The one input tensor that preprocessing fills."""

    name: str
    dtype: InputType
    shape: tuple[Annotated[int, Field(ge=1)], ...]
    """Of one instance, without the batch dimension."""


class Golden(_Part):
    """An encoded input, an image's file or a row as JSON, with the tensor that the trainer's pipeline made of it.

    Whoever preprocesses for this model must come within `tolerance` of every element; decoders differ in the last bit.
    """

    encoded: Base64
    tensor: Base64
    """Row-major little-endian, of the input's dtype and shape."""
    tolerance: Annotated[float, Field(ge=0)]


class Postprocessing(_Part):
    """How the output tensors become an answer."""

    task: Literal["classification", "regression", "raw"]
    output: str | None = None
    """The output tensor that holds the score (classification: one a class; regression: one). Not for raw."""
    labels: tuple[str, ...] = ()
    """Class names in the order of the scores; classification only."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.output is None) != (self.task == "raw"):
            raise ValueError("`output` names the score of a classification or regression, and nothing else")
        if bool(self.labels) != (self.task == "classification"):
            raise ValueError("`labels` are the classes of a classification, and of nothing else")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("`labels` repeats a class")
        return self


class Histogram(_Part):
    """How often values fell between neighbouring edges; the outermost bins are open-ended."""

    edges: tuple[float, ...]
    counts: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError("a histogram has one edge more than it has counts")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("a histogram's edges ascend")
        return self


class Reference(_Part):
    """Distributions on the held-out data, which drift is measured against."""

    instances: Annotated[int, Field(ge=0)]
    inputs: Mapping[str, Histogram] = Field(default_factory=dict)
    """By feature of the input."""
    predictions: Mapping[str, int] = Field(default_factory=dict)
    """How often each label was predicted; classification only."""
    confidence: Histogram | None = None
    values: Histogram | None = None
    """Of the predicted values; regression only."""


class Contract(_Part):
    """One version's contract."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    """The model's name, for people: the server's name for it is what clients use."""
    signature: str = "serving_default"
    input: InputSpec
    preprocessing: tuple[Step, ...]
    golden: tuple[Golden, ...] = ()
    postprocessing: Postprocessing
    reference: Reference | None = None
    evaluation: Mapping[str, float] = Field(default_factory=dict)
    """Figures on the held-out data by name."""
    lineage: Mapping[str, str] = Field(default_factory=dict)
    """Where the model comes from: run id, git revision, data source and hash, library versions."""

    @classmethod
    def parse(cls, text: str | bytes) -> "Contract":
        """The contract that the JSON `text` holds; ContractError says what is wrong with it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ContractError(f"not a valid contract: {problems(error)}") from error

    def pipeline(self, allowed: Collection[str] = ()) -> Pipeline:
        """The preprocessing pipeline, with `allowed` steps of one's own (by import path, or all of a module).

        ContractError if a step is unknown or not allowed, its parameters are wrong, or one of one's own has no golden
        vectors to be tried on.
        """
        try:
            pipeline = build(self.preprocessing, allowed)
        except StepError as error:
            raise ContractError(f"preprocessing: {error}") from error
        if pipeline.has_own and not self.golden:
            raise ContractError("preprocessing: steps of one's own need golden vectors, and there are none")
        return pipeline

    def replay_golden(self, pipeline: Callable[[bytes], NDArray[Any]]) -> None:
        """Runs every golden vector through `pipeline`; ContractError if a tensor differs by more than its tolerance."""
        for place, golden in enumerate(self.golden):
            expected = self._golden_tensor(place, golden)
            try:
                actual = pipeline(golden.encoded)
            except ContractError:
                raise
            except Exception as error:
                # Steps that were never tried together raise whatever numpy does.
                cause = f" ({error.__cause__})" if isinstance(error, StepFailedError) and error.__cause__ else ""
                raise ContractError(f"golden vector {place} cannot be preprocessed: {error}{cause}") from error
            if actual.shape != expected.shape or actual.dtype != expected.dtype:
                raise ContractError(
                    f"golden vector {place}: preprocessing made {actual.dtype} {list(actual.shape)}, "
                    f"the contract says {expected.dtype} {list(expected.shape)}"
                )
            difference = float(np.max(np.abs(actual.astype(np.float64) - expected.astype(np.float64)), initial=0.0))
            # Written so that a NaN on either side is a difference too.
            if not difference <= golden.tolerance:
                raise ContractError(
                    f"golden vector {place} differs by {difference:.6g}, more than its tolerance {golden.tolerance:.6g}"
                )

    def _golden_tensor(self, place: int, golden: Golden) -> NDArray[Any]:
        try:
            tensor = np.frombuffer(golden.tensor, np.dtype(self.input.dtype).newbyteorder("<"))
            return tensor.reshape(self.input.shape).astype(self.input.dtype)
        except ValueError as error:
            raise ContractError(
                f"golden vector {place}: its tensor is no {self.input.dtype} {list(self.input.shape)}"
            ) from error
