"""Preprocessing: named, pure steps from an encoded input to the model's tensor, the same for trainer and gateway."""

from serving.preprocessing.errors import InputError, StepError
from serving.preprocessing.pipeline import Pipeline, Step, build, schema

__all__ = ["InputError", "Pipeline", "Step", "StepError", "build", "schema"]
