"""gateway.rest.openapi and json_schema: models as JSON schemas."""

from typing import Any

import numpy as np
import pytest

from gateway.backend import Signature, TensorSpec
from gateway.catalog import Model, Servable, State, Version
from gateway.rest import openapi
from gateway.rest.json_schema import add_message, tensor
from tensorgate.v1 import inference_service_pb2 as pb
from tests.fakes import digits


def model(*signatures: Signature, contract: bool = False) -> Model:
    """A model with one version."""
    described = digits.contract() if contract else None
    named = {signature.name: signature for signature in signatures}
    servable = Servable("m", 3, named, described, described.pipeline() if described else None)
    return Model("m", {3: Version(3, State.AVAILABLE, servable=servable), 4: Version(4, State.LOADING)})


def paths_of(found: Model) -> dict[str, Any]:
    """What the document says of a model."""
    paths: dict[str, Any] = openapi.document([found], [pb.DESCRIPTOR])["paths"]
    return paths


def spec(name: str, dtype: Any, *shape: int) -> TensorSpec:
    """A tensor."""
    return TensorSpec(name, np.dtype(dtype), shape)


@pytest.mark.parametrize(
    ("described", "rows", "expected"),
    [
        (spec("x", np.float32, -1), True, {"type": "number"}),
        (
            spec("x", np.bool_, -1, 2),
            True,
            {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
        ),
        (spec("x", np.uint8, -1), False, {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}),
        (TensorSpec("x", np.dtype(np.float64), None), True, {"description": "float64 of any shape"}),
    ],
)
def test_tensors(described: TensorSpec, rows: bool, expected: dict[str, Any]) -> None:
    """A tensor is nested lists, as long as its shape says, without the batch in rows."""
    assert tensor(described, rows=rows) == expected


def test_strings() -> None:
    """A string is text or base64."""
    text, encoded = tensor(spec("x", object, -1), rows=True)["anyOf"]
    assert (text, encoded["required"]) == ({"type": "string"}, ["b64"])


def test_several_signatures() -> None:
    """Each signature has its forms; but for the default one it must be named. Several inputs go by name."""
    default = Signature("serving_default", {"x": spec("x", np.float32, -1)}, {"y": spec("y", np.float32, -1)})
    two = {name: spec(name, np.int32, -1) for name in ("a", "b")}
    paths = paths_of(model(default, Signature("two", two, two)))
    forms = paths["/v1/models/m:predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert [form["required"] for form in forms] == [
        ["instances"],
        ["inputs"],
        ["signature_name", "instances"],
        ["signature_name", "inputs"],
    ]
    assert forms[2]["properties"]["instances"]["items"]["required"] == ["a", "b"]
    assert "anyOf" in forms[0]["properties"]["instances"]["items"]
    assert paths["/v1/models/m/versions/{version}:predict"]["parameters"][0]["schema"] == {"enum": [3]}


def test_a_model_that_is_not_ready() -> None:
    """It has a status, and nothing to predict with."""
    paths = paths_of(Model("m", {4: Version(4, State.LOADING)}))
    assert [path for path in paths if path.startswith("/v1/")] == ["/v1/models/m", "/v1/models/m/metadata"]


def test_labels_are_named() -> None:
    """A contract says what the classes are."""
    image, scores = spec("image", np.float32, -1, 28, 28), spec("probabilities", np.float32, -1, 10)
    described = model(Signature("serving_default", {"image": image}, {"probabilities": scores}), contract=True)
    operation = paths_of(described)["/v1/models/m:predict"]["post"]
    assert "classification of: 0, 1, 2" in operation["summary"]


def test_messages() -> None:
    """Fields have their JSON names; repeated ones are lists, bytes base64, maps objects."""
    schemas: dict[str, Any] = {}
    found = add_message(pb.PredictRequest.DESCRIPTOR, schemas)
    assert found == {"$ref": "#/components/schemas/tensorgate.v1.PredictRequest"}
    fields = schemas["tensorgate.v1.PredictRequest"]["properties"]
    assert {"model", "topK", "instances"} <= fields.keys()
    assert fields["instances"]["items"] == {"$ref": "#/components/schemas/tensorgate.v1.Instance"}
    assert schemas["tensorgate.v1.Instance"]["properties"]["image"]["contentEncoding"] == "base64"
    named = schemas["tensorgate.v1.NamedTensors"]["properties"]["tensors"]
    assert named["additionalProperties"] == {"$ref": "#/components/schemas/tensorgate.v1.Tensor"}
