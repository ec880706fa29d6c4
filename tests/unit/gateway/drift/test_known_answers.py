"""Drift of real digits, through the pipeline that ships: what must be seen, what must not, and how soon"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gateway.answers import Classification
from gateway.catalog import Servable
from gateway.drift.alarms import Alarms
from gateway.drift.sketch import Sketch
from gateway.observations import Observation, Variant
from serving.contract import Contract, InputSpec, Postprocessing, Reference
from serving.reference import of_images, of_sources, source
from trainer import evaluate
from trainer.data import mnist
from trainer.recipe import parse

BLOCK = 125


@dataclass
class Digits:
    """A plain model of real digits with its contract, and digits that neither it nor its reference has seen."""

    servable: Servable
    model: LogisticRegression
    images: np.ndarray
    labels: np.ndarray

    def observation(self, images: np.ndarray) -> Observation:
        """What the gateway sees when it is asked about `images`, (n, 28, 28)."""
        contract, pipeline = self.servable.contract, self.servable.pipeline
        assert contract is not None
        assert pipeline is not None
        tensors = np.stack([pipeline.from_pixels(image[:, :, np.newaxis]) for image in images])
        answers = [
            Classification("0123456789", [int(row.argmax())], [float(row.max())])
            for row in self.model.predict_proba(tensors.reshape(len(tensors), -1))
        ]
        sources = [source(image[:, :, np.newaxis]) for image in images]
        return Observation(self.servable, Variant.STABLE, {contract.input.name: tensors}, answers, sources=sources)


@pytest.fixture(scope="module")
def digits() -> Digits:
    """500 digits to learn from, 1,000 for the reference, 2,500 for traffic."""
    dataset = mnist.packaged()
    order = np.random.default_rng(0).permutation(len(dataset.targets))
    images, labels = dataset.inputs[order], dataset.targets[order]
    recipe = parse([])[0]
    contract = Contract(
        name="digits",
        input=InputSpec(name="image", dtype="float32", shape=(28, 28)),
        preprocessing=recipe.preprocessing,
        postprocessing=Postprocessing(task="classification", output="p", labels=tuple("0123456789")),
    )
    pipeline = contract.pipeline()
    tensors = np.stack([pipeline.from_pixels(image[:, :, np.newaxis]) for image in images[:1500]])
    rows = tensors.reshape(1500, -1)
    model = LogisticRegression(C=0.01, max_iter=300).fit(rows[:500], labels[:500])
    features = of_images(tensors[500:]) | of_sources([source(image[:, :, np.newaxis]) for image in images[500:1500]])
    outputs = model.predict_proba(rows[500:]).astype(np.float32)
    reference = evaluate.reference(features, outputs, contract.postprocessing.labels)
    servable = Servable("digits", 1, {}, contract.model_copy(update={"reference": reference}), pipeline)
    return Digits(servable, model, images[1500:4000], labels[1500:4000])


def alarms_after(digits: Digits, images: np.ndarray) -> tuple[int, Alarms]:
    """After how many of `images` there is an alarm, asked in blocks; or after all of them, without."""
    contract = digits.servable.contract
    assert contract is not None
    assert isinstance(contract.reference, Reference)
    sketch = Sketch(contract, contract.reference)
    alarms = Alarms(sketch, look_rows=250, alpha=0.01, min_psi=0.1)
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        alarms.take(sketch.count([digits.observation(block)]), len(block), 0.0)
        if alarms.raised:
            return start + len(block), alarms
    return len(images), alarms


def noise(images: np.ndarray) -> np.ndarray:
    """Each pixel off by a tenth of the range."""
    rng = np.random.default_rng(1)
    return np.clip(images + rng.normal(0, 25, images.shape), 0, 255).astype(np.uint8)


def inversion(images: np.ndarray) -> np.ndarray:
    """Black on white, which preprocessing undoes."""
    return 255 - images


def rotation(images: np.ndarray) -> np.ndarray:
    """A quarter turn, which leaves brightness and ink as they are."""
    return np.rot90(images, axes=(1, 2)).copy()


@pytest.mark.parametrize(
    ("change", "certain", "possible"),
    [
        (
            noise,
            {"mean_intensity", "ink_share", "confidence"},
            {"image_brightness", "image_contrast", "prediction"},
        ),
        (inversion, {"image_brightness"}, set()),
        (rotation, {"confidence"}, {"prediction"}),
    ],
)
@pytest.mark.parametrize("clean", [0, 240])
def test_a_change_is_seen_within_500(
    digits: Digits,
    change: Callable[[np.ndarray], np.ndarray],
    certain: set[str],
    possible: set[str],
    clean: int,
) -> None:
    """Wherever it begins; and the features that show it are named, and no others."""
    images = np.concatenate([digits.images[:clean], change(digits.images[clean : clean + 500])])
    after, alarms = alarms_after(digits, images)
    assert after - clean <= 500
    raised = {feature.name for feature in alarms.raised}
    assert certain <= raised <= certain | possible


def test_another_mix_of_classes_is_seen_within_500(digits: Digits) -> None:
    """Every second digit a 1, where it was every tenth."""
    ones, others = digits.images[digits.labels == 1], digits.images[digits.labels != 1]
    images = np.empty((400, 28, 28), np.uint8)
    images[::2], images[1::2] = ones[:200], others[:200]
    after, alarms = alarms_after(digits, images)
    assert after < 500
    assert "prediction" in {feature.name for feature in alarms.raised}


def test_clean_digits_are_no_alarm(digits: Digits) -> None:
    """Ten blocks of digits that neither the model nor its reference has seen."""
    after, alarms = alarms_after(digits, digits.images)
    assert (after, alarms.looks) == (len(digits.images), 12)
