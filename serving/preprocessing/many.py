"""Steps over many images at once: for small ones a call of numpy costs far more than what it does to one image."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.preprocessing.errors import InputError, StepFailedError

Image = NDArray[Any]
Failure = InputError | StepFailedError
"""What is wrong with an image, or with a step of one's own that it was given to."""
Images = Sequence[Any] | NDArray[Any]
"""Images of any sizes, encoded or not, or of one size and stacked."""
Made = Sequence[Image | Failure] | NDArray[Any]
"""What became of each of them."""

# Beyond this many pixels at once images are large enough to go by themselves.
MAX_PIXELS = 1 << 18


def attempt(step: Callable[[Any], Image], image: Any) -> Image | Failure:
    """What a step makes of an image, or what it raises about it."""
    try:
        return step(image)
    except (InputError, StepFailedError) as error:
        return error


def for_many(many: Callable[..., Made]) -> Callable[..., Image]:
    """The step over one image that comes of one over many, which `over_many` finds again."""

    @functools.wraps(many)
    def step(image: Image, **parameters: Any) -> Image:
        made = many([image], **parameters)[0]
        if isinstance(made, Failure):
            raise made
        return made

    step.many = many  # type: ignore[attr-defined]  # functions have what one gives them
    return step


def for_stacks(stacked: Callable[..., Made]) -> Callable[..., Image]:
    """The same of a step over a stack of images, (n, height, width): images are stacked by their sizes."""

    @functools.wraps(stacked)
    def many(images: Images, **parameters: Any) -> Made:
        if isinstance(images, np.ndarray):
            return stacked(images, **parameters)
        if len(images) == 1:
            return stacked(images[0][np.newaxis], **parameters)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(place)
        made: list[Any] = [None] * len(images)
        for places in sizes.values():
            at_once = max(1, MAX_PIXELS // images[places[0]].size)
            for start in range(0, len(places), at_once):
                some = places[start : start + at_once]
                result = stacked(np.stack([images[place] for place in some]), **parameters)
                if len(some) == len(images):
                    return result
                for place, one in zip(some, result, strict=True):
                    made[place] = one
        return made

    return for_many(many)


def elementwise(step: Callable[..., Image]) -> Callable[..., Image]:
    """A step that makes of a stack of images the stack of what it makes of each."""

    def many(images: Images, **parameters: Any) -> Made:
        if isinstance(images, np.ndarray):
            return step(images, **parameters)
        return [step(image, **parameters) for image in images]

    step.many = many  # type: ignore[attr-defined]  # functions have what one gives them
    return step


def by_shape(step: Callable[..., Image]) -> Callable[..., Image]:
    """A step that leaves some images as they are, for their shape alone: a stack of those as a whole."""

    def many(images: Images, **parameters: Any) -> Made:
        first = images[0]
        made = step(first, **parameters)
        if made is first and isinstance(images, np.ndarray):
            return images
        return [made, *(step(image, **parameters) for image in images[1:])]

    step.many = many  # type: ignore[attr-defined]  # functions have what one gives them
    return step


def over_many(step: Callable[..., Image]) -> Callable[[Images], Made]:
    """A step, its parameters bound or without any, over many images: as it provides for that, else one by one."""
    function, parameters = (step.func, step.keywords) if isinstance(step, functools.partial) else (step, {})
    many = getattr(function, "many", None)
    if many is not None:
        return functools.partial(many, **parameters)
    return lambda images: [attempt(step, image) for image in images]
