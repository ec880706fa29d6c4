"""Preprocessing: named, pure steps from an encoded input to the model's tensor, the same for trainer and gateway."""

from serving.preprocessing.errors import InputError, StepError, StepFailedError
from serving.preprocessing.pipeline import Pipeline, Step, bind, build, own_steps, schema
from serving.preprocessing.table import Row

__all__ = [
    "InputError",
    "Pipeline",
    "Row",
    "Step",
    "StepError",
    "StepFailedError",
    "bind",
    "build",
    "own_steps",
    "schema",
]
