"""Images and a contract for the fake digit classifier, without TensorFlow."""

import io

import numpy as np
from PIL import Image

from serving.contract import Contract, Golden, InputSpec, Postprocessing
from serving.preprocessing import Step, build

STEPS = (
    Step(name="decode", parameters={"shrink_to": 256}),
    Step(name="grayscale"),
    Step(name="shrink", parameters={"max_side": 256}),
    Step(name="invert_light_background"),
    Step(name="resize", parameters={"height": 28, "width": 28}),
    Step(name="normalize"),
)


def band(digit: int, size: int = 280) -> np.ndarray:
    """A picture of the fake `digit`: a bright bar on black at the height that its class has."""
    rows = np.array_split(np.arange(size), 28)
    image = np.zeros((size, size), np.uint8)
    for row in np.array_split(np.arange(28), 10)[digit]:
        image[rows[row]] = 255
    return image


def encode(image: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """The image as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()


def contract(**changes: object) -> Contract:
    """A valid contract of the fake classifier, with a golden vector; `changes` replace its fields."""
    encoded = encode(band(3))
    golden = Golden(encoded=encoded, tensor=build(STEPS)(encoded).astype("<f4").tobytes(), tolerance=0.02)
    fields: dict[str, object] = {
        "name": "digits",
        "input": InputSpec(name="image", dtype="float32", shape=(28, 28)),
        "preprocessing": STEPS,
        "golden": (golden,),
        "postprocessing": Postprocessing(
            task="classification", output="probabilities", labels=tuple(str(digit) for digit in range(10))
        ),
        "evaluation": {"accuracy": 0.91},
        "lineage": {"run_id": "r1"},
    }
    return Contract.model_validate(fields | changes)
