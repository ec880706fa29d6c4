import contextlib
import os

import numpy as np
import pytest
from mlflow import MlflowClient

from serving.preprocessing import Step
from trainer import quiet
from trainer.data import Dataset
from trainer.recipe import Recipe

STEPS = (
    Step(name="decode"),
    Step(name="grayscale"),
    Step(name="normalize"),
    Step(name="cast", parameters={"dtype": "float32"}),
)


@pytest.fixture(scope="module")
def steps():
    """The shortest pipeline from an image to a float32 plane from 0 to 1."""
    return STEPS


@pytest.fixture(scope="module")
def bars():
    """60 images of 28 × 28 in three classes: a bright bar on the left, in the middle or on the right, and noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 60, (60, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:24, 4 + 8 * label : 8 + 8 * label] = 250
    return Dataset(images, labels, "bars", ("left", "middle", "right"))


@pytest.fixture(scope="module")
def recipe():
    """Makes recipes for the bars; settings replace the defaults."""

    def make(**settings):
        return Recipe(**{"name": "bars", "preprocessing": STEPS} | settings)

    return make


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The URI of an empty local MLflow store, for all tests: each has models and experiments of its own."""
    quiet.configure(os.environ)
    directory = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{directory / 'mlflow.db'}"
    with contextlib.chdir(directory):
        # Artifacts are kept in the directory that is current when a store is opened first.
        MlflowClient(uri).search_experiments()
    return uri


@pytest.fixture
def client(store):
    """A client of the store."""
    return MlflowClient(store)
