"""`python -m trainer.perturbed BASE NAME NOISE …`: publishes the newest version again, with noise on its weights.

For demonstrations and drills: a little noise makes a version that is as good, much of it one that is worse, in seconds.
The contract stays, its figures with it: what the versions are worth in truth shows in production.
"""

import argparse
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from trainer import quiet
from trainer.store import ModelStore
from trainer.version import MODEL

_VARIABLES = "variables/variables"


def main() -> None:
    """Publishes one version for each NOISE."""
    parser = argparse.ArgumentParser(prog="python -m trainer.perturbed", description=__doc__)
    parser.add_argument("base", metavar="BASE", type=Path, help="the model store, a directory")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "noise", metavar="NOISE", type=float, nargs="+", help="standard deviation, relative to each matrix's own"
    )
    options = parser.parse_args()
    quiet.configure(os.environ)
    versions = (path for path in (options.base / options.name).glob(f"[0-9]*/{MODEL}"))
    newest = max((path.parent for path in versions), key=lambda path: int(path.name))
    store = ModelStore(options.base, options.name)
    for seed, noise in enumerate(options.noise):
        published = store.publish(partial(perturb, newest, noise=noise, seed=seed))
        print(f"version {published.number} is version {newest.name} with noise of {noise:g}", flush=True)


def perturb(model: Path, directory: Path, *, noise: float, seed: int) -> None:
    """Writes the SavedModel in `model` to `directory`, with Gaussian noise on every matrix of its variables."""
    import tensorflow as tf  # noqa: PLC0415  # seconds

    shutil.copytree(model, directory, dirs_exist_ok=True)
    shutil.rmtree(directory / "variables")
    (directory / "variables").mkdir()
    random = np.random.default_rng(seed)
    reader = tf.train.load_checkpoint(str(model / _VARIABLES))
    tensors = {}
    for name in sorted(reader.get_variable_to_shape_map()):
        value = reader.get_tensor(name)
        if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim > 1:
            value = value + random.normal(0, noise * value.std(), value.shape).astype(np.float32)
        tensors[name] = tf.convert_to_tensor(value)
    tf.raw_ops.SaveV2(
        prefix=str(directory / _VARIABLES),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


if __name__ == "__main__":
    main()
