from types import SimpleNamespace

import numpy as np
import pytest

from serving.contract import Contract, InputSpec, Postprocessing, Reference
from serving.reference import by_quantiles, of_images
from trainer import challenge, data
from trainer.errors import TrainingError
from trainer.recipe import Gate
from trainer.registry import Registry


class Fake:
    """A published model that is right about every example whose class is not `wrong`."""

    def __init__(self, bars, wrong):
        self._wrong = wrong
        features = of_images(bars.inputs / np.float32(255))
        self.contract = Contract(
            name="bars",
            input=InputSpec(name="image", dtype="float32", shape=(28, 28)),
            preprocessing=(),
            postprocessing=Postprocessing(task="classification", output="p", labels=bars.labels),
            reference=Reference(instances=60, inputs={name: by_quantiles(each) for name, each in features.items()}),
        )

    def predict(self, examples):
        """Probabilities, and the classes."""
        answers = np.where(examples.targets == self._wrong, (examples.targets + 1) % 3, examples.targets)
        return np.eye(3)[answers] * 0.7 + 0.1, examples.labels

    def features(self, examples):
        """What drift is measured on."""
        return of_images(examples.inputs / np.float32(255))


@pytest.fixture
def champion(bars, monkeypatch):
    """Version 4 in the registry, which is wrong about the class 0 and was trained on the first ten examples."""
    version = SimpleNamespace(version="4", run_id="r", tags={"model_store.version": "9"})
    monkeypatch.setattr(Registry, "champion", lambda *_: version)
    monkeypatch.setattr(challenge, "load", lambda *_: (Fake(bars, 0), bars.part(range(10)).fingerprints))


def test_the_champion_answers_the_held_out_examples(store, recipe, bars, champion):
    """Its figures, the test, the drift and how many of the examples it knew."""
    training, heldout = data.split(bars, 0.5, 0)
    met = challenge.prepare(store, recipe(), training, heldout)
    found = met.judge(np.eye(3)[heldout.targets])
    assert met.warnings == ()
    assert (found.version, found.store_version, found.run_id) == ("4", "9", "r")
    assert found.figures["accuracy"] == pytest.approx(2 / 3)
    assert found.test.details == {"only_first_right": 0, "only_second_right": 10}
    assert found.seen == len({*map(bytes, bars.inputs[:10])} & {*map(bytes, heldout.inputs)}) > 0
    assert set(found.drift) == {"mean_intensity", "ink_share"}
    assert found.drift["mean_intensity"].psi < 1


def test_drift_is_seen(store, recipe, bars, champion):
    """Training data that are darker than those of the champion are far from its reference."""
    training, heldout = data.split(bars, 0.5, 0)
    faded = type(training)(training.inputs // 2, training.targets, "faded", training.labels)
    found = challenge.prepare(store, recipe(), faded, heldout).judge(np.eye(3)[heldout.targets])
    assert found.drift["mean_intensity"].psi > 1
    assert found.drift["mean_intensity"].jensen_shannon > 0.5


def test_one_that_cannot_answer_ends_the_training(store, recipe, bars, champion, monkeypatch):
    """Before anything is trained, and with the way out."""

    def fail(*_):
        raise TrainingError("its run has no export")

    monkeypatch.setattr(challenge, "load", fail)
    message = r"the champion, version 4, cannot be compared with: its run has no export; gate.champion: ignored"
    with pytest.raises(TrainingError, match=message):
        challenge.prepare(store, recipe(), bars, bars)


@pytest.mark.parametrize(
    ("uri", "gate", "warning"),
    [
        ("nowhere://", Gate(), "MLflow at nowhere://"),
        ("nowhere://", Gate(champion="ignored"), "the champion is ignored, as the recipe says"),
    ],
)
def test_without_a_champion_a_warning(recipe, bars, uri, gate, warning):
    """A candidate is judged by its limits alone, and the verdict says so."""
    met = challenge.prepare(uri, recipe(gate=gate), bars, bars)
    assert met.judge is None
    assert met.warnings[0].startswith(warning)


def test_the_first_model_meets_nobody(store, recipe, bars, monkeypatch):
    """Nothing is to be warned of."""
    monkeypatch.setattr(Registry, "champion", lambda *_: None)
    assert challenge.prepare(store, recipe(), bars, bars) == challenge.Challenge(None)


def test_what_is_not_recorded_is_not_known(bars):
    """A champion whose examples nobody recorded may know any."""
    assert challenge.seen(None, bars) is None
    assert challenge.seen(bars.part([1, 2]).fingerprints, bars) == 2
