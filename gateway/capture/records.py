"""An observation as a record: TensorFlow Serving's PredictionLog."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gateway.backend import Tensors
from gateway.observations import Observation
from gateway.settings.capture import CaptureSettings
from serving.reference import of_inputs, of_sources
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import fill_proto

Redact = Callable[[tfs.PredictionLog], tfs.PredictionLog | None]


class CaptureError(Exception):
    """Requests cannot be captured as the settings say."""


def redaction(path: str) -> Redact:
    """The function at `module:function`, or without a path one that keeps all; CaptureError if it is not there."""
    if not path:
        return lambda log: log
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CaptureError(f"capture.redact: {path} cannot be imported: {error}") from error
    if not callable(found):
        raise CaptureError(f"capture.redact: {path} is no function")
    redact: Redact = found
    return redact


def to_log(observation: Observation, settings: CaptureSettings, seconds: int) -> tfs.PredictionLog:
    """What was asked and answered at `seconds` of Unix time.

    The request names no version, so that it can be sent to any; the response names the one that answered.
    """
    servable = observation.servable
    log = tfs.PredictionLog()
    metadata, request, response = log.log_metadata, log.predict_log.request, log.predict_log.response
    metadata.sampling_config.sampling_rate = settings.sampling_rate
    metadata.timestamp_secs = seconds
    for spec in (metadata.model_spec, request.model_spec, response.model_spec):
        spec.name, spec.signature_name = servable.model, servable.default_signature
    for spec in (metadata.model_spec, response.model_spec):
        spec.version.value = servable.version
    for name, array in _inputs(observation, settings).items():
        fill_proto(request.inputs[name], array)
    for name, array in observation.outputs.items():
        fill_proto(response.outputs[name], array)
    return log


def _inputs(observation: Observation, settings: CaptureSettings) -> Tensors:
    contract = observation.servable.contract
    assert contract is not None  # an observation's never is
    if settings.inputs == "full":
        return observation.inputs
    if settings.inputs == "none":
        return {}
    features: dict[str, Any] = of_inputs(contract, np.asarray(observation.inputs[contract.input.name]))
    sources = [source for source in observation.sources if source]
    # A row without would stand beside another's.
    return features | (of_sources(sources) if len(sources) == len(observation.answers) else {})
