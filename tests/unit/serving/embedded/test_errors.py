"""serving.embedded.errors: TensorFlow Serving's texts."""

import pytest
from grpc import StatusCode

from serving.embedded import errors


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.MissingModelSpec(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (errors.MissingModelName(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (errors.UnknownLabel("x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
        (errors.ServableNotFound("m", None), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (errors.ServableNotFound("m", 9), "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
        (errors.NoVersions("m"), "NOT_FOUND", "Could not find any versions of model m"),
        (errors.VersionNotFound("m", 9), "NOT_FOUND", "Could not find version 9 of model m"),
        (errors.SignatureNotFound("x"), "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
        (
            errors.InputCountMismatch(["a"], ["b", "a"]),
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 1!=2 len({a}) != len({a,b}). "
                "Sent extra: {}. Missing but required: {b}."
            ),
        ),
        (
            errors.UnknownInput("a", ["y", "x"]),
            "INVALID_ARGUMENT",
            "input tensor alias not found in signature: a. Inputs expected to be in the set {x,y}.",
        ),
        (
            errors.MissingInput("a", "a:0", ["c", "b"], ["d"]),
            "INVALID_ARGUMENT",
            (
                "Signature input alias: a(feed name: a:0) not found in request and no default value provided. "
                "Inputs expected to be in the request {b,c}, or default input alias set: d"
            ),
        ),
        (errors.UnparsableTensor("a"), "INVALID_ARGUMENT", "tensor parsing error: a"),
        (
            errors.WrongType(0, "float", "string"),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        (
            errors.UnknownOutput("a", ["y", "x"]),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: a Outputs expected to be in the set {x,y}.",
        ),
        (errors.DuplicateOutput("a"), "INVALID_ARGUMENT", "duplicate output tensor alias: a"),
        (errors.EmptyInput(), "INVALID_ARGUMENT", "Input is empty."),
        (errors.SignatureNotNamed("x"), "INVALID_ARGUMENT", "No signature was found with the name: x"),
        (errors.UnfitSignature("why"), "INVALID_ARGUMENT", "why"),
        (errors.SignatureLacksTensor("why"), "FAILED_PRECONDITION", "why"),
        (errors.UnfitOutput("why"), "INVALID_ARGUMENT", "why"),
        (errors.MissingTaskModel(), "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        (
            errors.SeveralModels(),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (errors.RepeatedSignature("x"), "INVALID_ARGUMENT", "Duplicate evaluation of signature: x"),
        (
            errors.RequestedSignatureNotFound("x"),
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: x",
        ),
        (errors.SeveralInputs(), "INVALID_ARGUMENT", "Input tensor must be the same for all Signatures."),
        (errors.UnsupportedMethod("x"), "UNIMPLEMENTED", "Unsupported signature method_name: x"),
        (
            errors.NoMetadataField(),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (errors.UnknownMetadataField("x"), "INVALID_ARGUMENT", "Metadata field %s is not supportedx"),
        (
            errors.LabelledVersionUnavailable("m", 2),
            "FAILED_PRECONDITION",
            "Request to assign label to version 2 of model m, which is not currently available for inference",
        ),
        (
            errors.ServablesUnavailable(["{name: m version: 1}"]),
            "UNKNOWN",
            "1 servable(s) did not become available: {{name: m version: 1}, }",
        ),
        (errors.ModelError(StatusCode.DATA_LOSS, "torn"), "DATA_LOSS", "torn"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.ServingError) else None,
)
def test_table(error: errors.ServingError, code: str, text: str) -> None:
    """Every error has TFS's code and text."""
    assert (error.code.name, error.text) == (code, text)


def test_long_text_is_cut() -> None:
    """A text is cut at 1024 characters, and says so."""
    assert errors.UnparsableTensor("a" * 2000).text == "tensor parsing error: " + "a" * 1002 + "...TRUNCATED"
    assert len(errors.UnparsableTensor("a" * 1002).text) == 1024
