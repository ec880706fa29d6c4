"""PredictRequest and PredictResponse as they are on the wire, put together of bytes (see codec.map_fields)."""

from collections.abc import Mapping
from functools import lru_cache

from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.codec import Array, map_fields

# Names are those of models and signatures that there are, though not for ever.
_MAX_SPECS = 256


def spec(model: str, version: int, signature: str = "") -> tfs.ModelSpec:
    """The ModelSpec of a version, and of its signature where one is named."""
    found = tfs.ModelSpec(name=model, signature_name=signature)
    found.version.value = version
    return found


def request(model: str, version: int, signature: str, inputs: Mapping[str, Array]) -> bytes:
    """A PredictRequest of a version, for all outputs of its signature; inputs in tensor_content."""
    fields = map_fields(tfs.PredictRequest.INPUTS_FIELD_NUMBER, inputs)
    return b"".join((_request_spec(model, version, signature), *fields))


def response(model: str, version: int, signature: str, outputs: Mapping[str, Array], *, typed: bool) -> bytes:
    """A PredictResponse; `typed` answers in float_val and its like, not in tensor_content."""
    fields = map_fields(tfs.PredictResponse.OUTPUTS_FIELD_NUMBER, outputs, typed=typed)
    return b"".join((*fields, _response_spec(model, version, signature)))


@lru_cache(_MAX_SPECS)
def _request_spec(model: str, version: int, signature: str) -> bytes:
    return tfs.PredictRequest(model_spec=spec(model, version, signature)).SerializeToString()


@lru_cache(_MAX_SPECS)
def _response_spec(model: str, version: int, signature: str) -> bytes:
    return tfs.PredictResponse(model_spec=spec(model, version, signature)).SerializeToString()
