"""MLflow's scoring server, on a model of the generic flavour; it has no batching."""

import os
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from saved_model import DIRECTORY, PORT


class Digits(mlflow.pyfunc.PythonModel):
    """The model."""

    def load_context(self, context):
        """Once."""
        import tensorflow as tf  # noqa: PLC0415  # in the process that serves

        self.constant = tf.constant
        self.saved = tf.saved_model.load(context.artifacts["model"])
        self.model = self.saved.signatures["serving_default"]

    def predict(self, context, model_input, params=None):
        """A request."""
        return self.model(image=self.constant(model_input))["probabilities"].numpy()


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    path = Path(tempfile.mkdtemp()) / "model"
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, 28, 28))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, 10))]),
    )
    mlflow.pyfunc.save_model(
        path, python_model=Digits(), artifacts={"model": DIRECTORY}, signature=signature, pip_requirements=[]
    )
    program = str(Path(sys.executable).with_name("mlflow"))
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.execv(  # noqa: S606  # its own command
        program,
        [program, "models", "serve", "-m", str(path), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(PORT)],
    )
