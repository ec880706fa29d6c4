"""What the server asks of a loaded model, and the form of an answer that takes calls of it."""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from serving.wire import tensorflow_pb2 as tf
from serving.wire.codec import Array

Result = TypeVar("Result")

Execute: TypeAlias = Callable[[Sequence[Array]], list[Array]]
"""The outputs for arguments, each in its order; ServingError if they cannot be computed."""


class Call(NamedTuple):
    """A call of one signature that was checked: `execute` it with `arguments`, and get `outputs`, which are aliases."""

    key: Hashable
    """Equal for two calls of the same model that may share one execution: their signature and outputs."""
    arguments: Sequence[Array]
    outputs: Sequence[str]
    execute: Execute

    def run(self) -> dict[str, Array]:
        """The outputs by alias; ServingError."""
        return self.named(self.execute(self.arguments))

    def named(self, values: Sequence[Array]) -> dict[str, Array]:
        """`values`, in the order of `outputs`, by alias."""
        return dict(zip(self.outputs, values, strict=True))


class Servable(Protocol):
    """A loaded model."""

    @property
    def signatures(self) -> Mapping[str, tf.SignatureDef]:
        """Its signatures by key."""

    def prepare(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Call:
        """A call of a signature for `outputs` (all if empty); ServingError if it does not fit the signature."""

    def close(self) -> None:
        """Frees what it holds; nothing runs on it any more."""


Inference: TypeAlias = Generator[Call, dict[str, Array], Result]
"""An answer on its way: yields the calls that it needs, is sent the outputs of each, and returns the result.

So that whoever drives it says where calls run: `complete` at once, batching together with others'.
"""


@dataclass(frozen=True, slots=True)
class Finished(Generic[Result]):
    """An inference that has come to its end."""

    result: Result


def advance(inference: Inference[Result], outputs: dict[str, Array] | None = None) -> Call | Finished[Result]:
    """What an inference asks for next, given the `outputs` of what it asked for last, or its result."""
    try:
        # None starts a generator.
        return inference.send(outputs)  # type: ignore[arg-type]  # see above
    except StopIteration as end:
        return Finished(end.value)


def complete(inference: Inference[Result]) -> Result:
    """The result of an inference, whose calls run here and now."""
    step = advance(inference)
    while isinstance(step, Call):
        step = advance(inference, step.run())
    return step.result
