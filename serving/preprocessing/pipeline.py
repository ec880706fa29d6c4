"""Steps by name, and the pipeline that runs them one after another."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from serving.preprocessing import decode, ink, pixels, tensor
from serving.preprocessing.errors import InputError, StepError
from serving.validation import problems

# A step takes what the one before it made; its keyword arguments are the parameters that a contract may set.
STEPS: Mapping[str, Callable[..., NDArray[Any]]] = {
    function.__name__: function
    for function in (
        decode.decode,
        pixels.grayscale,
        pixels.shrink,
        pixels.denoise,
        pixels.resize,
        ink.invert_light_background,
        ink.flatten_background,
        ink.stretch_contrast,
        ink.crop_to_content,
        ink.thicken,
        ink.center_of_mass,
        tensor.normalize,
        tensor.layout,
        tensor.cast,
    )
}
DECODE = "decode"


class Step(BaseModel):
    """One step of a pipeline, as a contract names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)


class Pipeline:
    """Steps in a row: an encoded input, or pixels, in; the model's tensor for one instance out."""

    def __init__(self, steps: Iterable[tuple[str, Callable[..., NDArray[Any]]]]) -> None:
        named = list(steps)
        self.names = tuple(name for name, _ in named)
        self.accepts_images = self.names[:1] == (DECODE,)
        self._steps = [step for _, step in named]

    def __call__(self, encoded: bytes) -> NDArray[Any]:
        """The tensor made of an encoded image; InputError if it is not one."""
        return self.from_pixels(self.decode(encoded))

    def decode(self, encoded: bytes) -> NDArray[np.uint8]:
        """The pixels (height, width, channels) of an encoded image; InputError if it is not one."""
        return self._run(encoded, self._steps[:1])

    def from_pixels(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor made of pixels (height, width, channels) as `decode` would have made them."""
        return self._run(image, self._steps[1:])

    def _run(self, value: Any, steps: list[Callable[..., NDArray[Any]]]) -> NDArray[Any]:
        if not self.accepts_images:
            raise InputError("IMAGES_NOT_ACCEPTED", "the model takes tensors, not images")
        for step in steps:
            value = step(value)
        result: NDArray[Any] = value
        return result


def build(steps: Iterable[Step]) -> Pipeline:
    """The pipeline of `steps`; StepError names a step that does not exist or a parameter that it does not take."""
    bound = []
    for place, step in enumerate(steps):
        if step.name not in STEPS:
            raise StepError(f"step {place}: no step is called {step.name!r}; there are {', '.join(sorted(STEPS))}")
        if (step.name == DECODE) != (place == 0):
            raise StepError(f"step {place}: `{DECODE}` comes first, and only there")
        try:
            bound.append((step.name, functools.partial(STEPS[step.name], **parameters(step))))
        except ValidationError as error:
            raise StepError(f"step {place} ({step.name}): {problems(error)}") from error
    return Pipeline(bound)


def parameters(step: Step) -> dict[str, Any]:
    """All parameters of a step that there is, with the defaults of those that it leaves out."""
    return dict(_parameters(step.name).model_validate(dict(step.parameters)))


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of a step's parameters."""
    return _parameters(name).model_json_schema()


@functools.cache
def _parameters(name: str) -> type[BaseModel]:
    """A model of the step's keyword-only arguments, so that a step's signature is its schema."""
    signature = inspect.signature(STEPS[name], eval_str=True)
    fields: dict[str, Any] = {
        key: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for key, parameter in signature.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=STEPS[name].__doc__, **fields)
