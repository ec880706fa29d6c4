"""What the gateway needs of a model server, in its own types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature. `shape` has -1 where any size goes, and is None if the rank is open."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    row: tuple[int, ...] | None = field(init=False, repr=False, compare=False)
    """The shape of one instance, if it is one and no other."""

    def __post_init__(self) -> None:
        row = self.shape[1:] if self.shape is not None and self.batched else None
        object.__setattr__(self, "row", None if row is None or -1 in row else row)

    @property
    def batched(self) -> bool:
        """Whether the first dimension is the batch."""
        return self.shape is None or self.shape[:1] == (-1,)

    def __str__(self) -> str:
        shape = "any shape" if self.shape is None else str(list(self.shape))
        return f"{type_name(self.dtype)} {shape}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One callable function of a model."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class BackendVersion:
    """What the model server says of one version."""

    number: int
    available: bool
    loading: bool
    detail: str


class Backend(Protocol):
    """A model server. Every method raises BackendUnavailable, DeadlineExceeded, BackendRejected or BackendFailed."""

    async def versions(self, model: str) -> list[BackendVersion]:
        """The versions that it knows; none if it does not know the model."""

    async def signatures(self, model: str, version: int) -> dict[str, Signature]:
        """The signatures of a version by name."""

    async def predict(self, model: str, version: int, signature: str, inputs: Tensors, timeout: float) -> Tensors:
        """Runs a signature, within `timeout` seconds. ModelNotFound if the version is gone."""

    async def forward(self, method: str, request: bytes, timeout: float) -> bytes:
        """The answer to a request of TensorFlow Serving's protocol; `method` is its full name."""

    async def labelled(self, model: str, label: str) -> int:
        """The version that a label points at. BackendRejected if there is no such label."""


def type_name(dtype: np.dtype[Any]) -> str:
    """A type's name for people: byte strings are "string", whatever numpy calls them."""
    return "string" if dtype.hasobject else dtype.name
