"""A Backend without a wire: models as plain Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.backend import BackendVersion, Signature, Tensors, TensorSpec
from gateway.errors import GatewayError, ModelNotFound
from serving import contract as contracts

Spec = tuple[Any, tuple[int, ...] | None]


def signature(name: str, inputs: Mapping[str, Spec], outputs: Mapping[str, Spec]) -> Signature:
    """A signature of tensors by name, each a numpy type and a shape."""

    def specs(tensors: Mapping[str, Spec]) -> dict[str, TensorSpec]:
        return {key: TensorSpec(key, np.dtype(dtype), shape) for key, (dtype, shape) in tensors.items()}

    return Signature(name, specs(inputs), specs(outputs))


IMAGES = signature("serving_default", {"image": (np.float32, (-1, 28, 28))}, {"probabilities": (np.float32, (-1, 10))})


@dataclass
class FakeBackend:
    """Answers for one model; `error`, if set, is what every question is answered with."""

    available: list[int] = field(default_factory=lambda: [1])
    signatures_: dict[str, Signature] = field(default_factory=lambda: {"serving_default": IMAGES})
    contract: str | None = None
    compute: Callable[[Tensors], Tensors] = dict
    error: GatewayError | None = None
    describe_error: GatewayError | None = None
    """What a question about signatures is answered with."""
    calls: list[tuple[int, str]] = field(default_factory=list)
    """Version and signature of every prediction."""

    async def versions(self, model: str) -> list[BackendVersion]:
        self._fail()
        return [BackendVersion(number, available=True, loading=False, detail="") for number in self.available]

    async def signatures(self, model: str, version: int) -> dict[str, Signature]:
        self._fail()
        if self.describe_error is not None:
            raise self.describe_error
        extra = {} if self.contract is None else {contracts.SIGNATURE: signature(contracts.SIGNATURE, {}, {})}
        return self.signatures_ | extra

    async def predict(self, model: str, version: int, signature: str, inputs: Tensors, timeout: float) -> Tensors:
        self._fail()
        if version not in self.available:
            raise ModelNotFound("gone")
        if signature == contracts.SIGNATURE:
            return {contracts.JSON_OUTPUT: np.array([(self.contract or "").encode()], object)}
        self.calls.append((version, signature))
        return self.compute(inputs)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
