"""Steps by name, and the function that runs them one after another."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from serving.contract import Contract, ContractError
from serving.preprocessing import Step
from serving.preprocessing.pipeline import parameters
from trainer.graph_steps import decode, ink, pixels, tensor

# The signature that takes encoded images, and its input.
BYTES_SIGNATURE, BYTES_INPUT = "serving_bytes", "image_bytes"
# Of the steps in serving/preprocessing, by the same names.
STEPS: Mapping[str, Callable[..., Any]] = {
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


class NoCounterpartError(Exception):
    """A step that TensorFlow has no operations for here."""


def build(steps: Iterable[Step], shape: Sequence[int], dtype: str) -> Callable[[Any], Any]:
    """A function from encoded images, string (n,), to what `steps` make of them: `dtype` (n, *shape).

    It fails for the whole batch (InvalidArgumentError) if an image cannot be read, or its tensor has another
    shape. NoCounterpartError names a step of one's own.
    """
    bound = []
    for step in steps:
        if step.name not in STEPS:
            raise NoCounterpartError(f"the step {step.name!r} has no counterpart in trainer/graph_steps")
        bound.append(functools.partial(STEPS[step.name], **parameters(step)))

    def one(encoded: Any) -> Any:
        value = encoded
        for step in bound:
            value = step(value)
        return tf.ensure_shape(value, shape)

    def every(encoded: Any) -> Any:
        return tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec(shape, dtype))

    # Traced once, whoever calls it: that takes seconds.
    traced: Callable[[Any], Any] = tf.function(
        every, input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False
    )
    return traced


def replay_golden(contract: Contract, preprocess: Callable[[Any], Any]) -> None:
    """Runs the golden vectors through what `build` made; ContractError if a tensor differs by more than it may."""

    def made(encoded: bytes) -> NDArray[Any]:
        try:
            tensor: NDArray[Any] = preprocess(tf.constant([encoded]))[0].numpy()
        except tf.errors.OpError as error:
            raise ContractError(f"a golden vector cannot be preprocessed: {error.message}") from error
        return tensor

    contract.replay_golden(made)
