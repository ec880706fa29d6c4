"""What a server of TensorFlow Serving's protocol says of its models, asked with TensorFlow Serving's own client."""

from pathlib import Path
from typing import Any

import pytest
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse

from tests.contract.client import TIMEOUT, Client, failure, model_spec


@pytest.mark.parametrize("spec", [{}, {"version": 1}], ids=str)
def test_metadata(client: Client, base: Path, spec: dict[str, Any]) -> None:
    """The metadata are the SavedModel's own signatures, whole."""
    request = GetModelMetadataRequest(model_spec=model_spec(**spec), metadata_field=["signature_def"])
    response = client.predictions.GetModelMetadata(request, timeout=TIMEOUT)
    assert response.model_spec == model_spec(version=1)
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    saved = SavedModel.FromString((base / "1/saved_model.pb").read_bytes())
    assert signatures.signature_def == saved.meta_graphs[0].signature_def


FIELD = {"metadata_field": ["signature_def"]}


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        (FIELD, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (FIELD | {"model_spec": model_spec(name="")}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            FIELD | {"model_spec": model_spec(name="m")},
            "NOT_FOUND",
            "Servable not found for request: Latest(m)",
        ),
        (
            FIELD | {"model_spec": model_spec(version=9)},
            "NOT_FOUND",
            "Servable not found for request: Specific(wire, 9)",
        ),
        (
            FIELD | {"model_spec": model_spec(version_label="x")},
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: x",
        ),
        (
            {"model_spec": model_spec()},
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            {"model_spec": model_spec(), "metadata_field": ["x"]},
            "INVALID_ARGUMENT",
            "Metadata field %s is not supportedx",
        ),
    ],
)
def test_metadata_refusals(client: Client, fields: dict[str, Any], code: str, text: str) -> None:
    """Metadata that cannot be given are refused with TensorFlow Serving's code and text."""
    assert failure(client.predictions.GetModelMetadata, GetModelMetadataRequest(**fields)) == (code, text)


@pytest.mark.parametrize("spec", [{}, {"version": 1}, {"version_label": "x"}], ids=str)
def test_status(client: Client, spec: dict[str, Any]) -> None:
    """The version is AVAILABLE and well; a label is not looked at."""
    response = client.models.GetModelStatus(GetModelStatusRequest(model_spec=model_spec(**spec)), timeout=TIMEOUT)
    expected = GetModelStatusResponse()
    expected.model_version_status.add(version=1, state="AVAILABLE", status={})
    assert response == expected


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (GetModelStatusRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            GetModelStatusRequest(model_spec=model_spec(name="m")),
            "NOT_FOUND",
            "Could not find any versions of model m",
        ),
        (
            GetModelStatusRequest(model_spec=model_spec(version=9)),
            "NOT_FOUND",
            "Could not find version 9 of model wire",
        ),
    ],
)
def test_status_refusals(client: Client, request_: GetModelStatusRequest, code: str, text: str) -> None:
    """The status of what was never there is refused with TensorFlow Serving's code and text."""
    assert failure(client.models.GetModelStatus, request_) == (code, text)
