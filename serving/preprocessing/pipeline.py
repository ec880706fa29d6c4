"""Steps by name, and the pipeline that runs them one after another."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from serving.preprocessing import decode, ink, pixels, tensor
from serving.preprocessing.errors import InputError, StepError
from serving.preprocessing.many import Images, Made, over_many
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
        self._steps = [over_many(step) for _, step in named]

    def __call__(self, encoded: bytes) -> NDArray[Any]:
        """The tensor made of an encoded image; InputError if it is not one."""
        return _only(self.many([encoded]))

    def from_pixels(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor made of pixels (height, width, channels) as `decode` would have made them."""
        return _only(self.many([image]))

    def many(self, images: Sequence[bytes | NDArray[np.uint8]]) -> list[NDArray[Any] | InputError]:
        """What becomes of each image, encoded or pixels: a tensor, or an error. Costs less than one after the other."""
        if not self.accepts_images:
            return [InputError("IMAGES_NOT_ACCEPTED", "the model takes tensors, not images")] * len(images)
        decode, *steps = self._steps
        made: Made = [decode([image])[0] if isinstance(image, bytes) else image for image in images]
        outcome: dict[int, NDArray[Any] | InputError] = {}
        places: Sequence[int] = range(len(images))
        for step in steps:
            places, good = _set_apart(places, made, outcome)
            made = step(good) if len(good) else ()
        outcome |= zip(places, made, strict=True)
        return [outcome[place] for place in range(len(images))]


def _set_apart(
    places: Sequence[int], made: Made, failed: dict[int, NDArray[Any] | InputError]
) -> tuple[Sequence[int], Images]:
    """Puts what has failed aside, and gives what is left with its places."""
    if isinstance(made, np.ndarray):
        return places, made
    good: list[tuple[int, NDArray[Any]]] = []
    for place, one in zip(places, made, strict=True):
        if isinstance(one, InputError):
            failed[place] = one
        else:
            good.append((place, one))
    return [place for place, _ in good], [one for _, one in good]


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


def _only(made: Sequence[NDArray[Any] | InputError]) -> NDArray[Any]:
    (one,) = made
    if isinstance(one, InputError):
        raise one
    return one


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
