"""serving.rest.paths: what a path asks for."""

import pytest

from serving.rest.paths import target
from serving.wire.errors import ServingError


@pytest.mark.parametrize(
    ("http_method", "path", "expected"),
    [
        ("POST", "/v1/models/m:predict", ("predict", "m", 0, "")),
        ("POST", "/V1/Models/M:predict", ("predict", "M", 0, "")),
        ("POST", "/v1/models/m/versions/0012:classify", ("classify", "m", 12, "")),
        ("POST", "/v1/models/a%2Fb/labels/ca%20nary:regress", ("regress", "a/b", 0, "ca nary")),
        ("GET", "/v1/models/m", ("status", "m", 0, "")),
        ("GET", "/v1/models/m/versions/9223372036854775807", ("status", "m", 2**63 - 1, "")),
        ("GET", "/v1/models/m/labels/stable/metadata", ("metadata", "m", 0, "stable")),
    ],
)
def test_targets(http_method: str, path: str, expected: tuple[str, str, int, str]) -> None:
    """Model, version or label, and method are read from the path."""
    method, spec = target(http_method, path)
    assert (method, spec.name, spec.version.value, spec.version_label) == expected


@pytest.mark.parametrize(
    ("http_method", "path", "text"),
    [
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", "/v1/models/metadata/x", "Malformed request: GET /v1/models/metadata/x"),
        ("POST", "/v1/models", "Malformed request: POST /v1/models"),
        ("POST", "/v1/models/m:PREDICT", "Malformed request: POST /v1/models/m:PREDICT"),
        ("POST", "/v1/models/m/metadata", "Malformed request: POST /v1/models/m/metadata"),
        ("GET", "/v1/models/m:predict", "Malformed request: GET /v1/models/m:predict"),
        ("PUT", "/v1/models/m:predict", "Malformed request: PUT /v1/models/m:predict"),
        ("POST", "/v1/models/m/versions/x:predict", "Malformed request: POST /v1/models/m/versions/x:predict"),
        (
            "POST",
            "/v1/models/m/versions/1/labels/x:predict",
            "Malformed request: POST /v1/models/m/versions/1/labels/x:predict",
        ),
        (
            "POST",
            "/v1/models/m/versions/9223372036854775808:predict",
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
    ],
)
def test_errors(http_method: str, path: str, text: str) -> None:
    """A path that asks for nothing is refused in TFS's words."""
    with pytest.raises(ServingError) as caught:
        target(http_method, path)
    assert str(caught.value) == text
