"""What calls and loads fail with: TensorFlow Serving's codes and texts, a type for each. Clients match on the texts.

ServingError
├── InvalidArgument
│   ├── MissingModelSpec, MissingModelName, UnknownLabel
│   ├── InputCountMismatch, UnknownInput, MissingInput, UnparsableTensor, WrongType
│   ├── UnknownOutput, DuplicateOutput
│   ├── EmptyInput, SignatureNotNamed, UnfitSignature, UnfitOutput
│   ├── MissingTaskModel, SeveralModels, RepeatedSignature, RequestedSignatureNotFound, SeveralInputs
│   └── NoMetadataField, UnknownMetadataField
├── NotFound
│   └── ServableNotFound, NoVersions, VersionNotFound, UnknownLogCollector
├── SignatureNotFound, SignatureLacksTensor
├── UnsupportedMethod
├── LabelledVersionUnavailable, ServablesUnavailable: the configuration's
├── batching.errors: a batch's
└── ModelError: TensorFlow's own, in loading or running
"""

from collections.abc import Collection

from grpc import StatusCode

from serving.wire.errors import InvalidArgument, ServingError


class NotFound(ServingError):
    """The server does not hold what was asked for."""

    code = StatusCode.NOT_FOUND


class MissingModelSpec(InvalidArgument):
    """The request names no model at all."""

    def __init__(self) -> None:
        super().__init__("Missing ModelSpec")


class MissingModelName(InvalidArgument):
    """The request's model has an empty name."""

    def __init__(self) -> None:
        super().__init__("ModelSpec has no name specified.")


class UnknownLabel(InvalidArgument):
    """No version of the model carries the label."""

    def __init__(self, label: str) -> None:
        super().__init__(f"Unrecognized servable version label: {label}")


class ServableNotFound(NotFound):
    """The model, or this version of it, is not loaded; `version` None asks for the latest."""

    def __init__(self, name: str, version: int | None) -> None:
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        super().__init__(f"Servable not found for request: {request}")


class NoVersions(NotFound):
    """No version of the model was ever seen."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Could not find any versions of model {name}")


class VersionNotFound(NotFound):
    """The model's version was never seen."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"Could not find version {version} of model {name}")


class UnknownLogCollector(NotFound):
    """A model's requests are to be logged in a way that there is not."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"Cannot find LogCollector::Factory for type: {kind}")


class SignatureNotFound(ServingError):
    """The model has no such signature."""

    code = StatusCode.FAILED_PRECONDITION

    def __init__(self, key: str) -> None:
        super().__init__(f'Serving signature key "{key}" not found.')


class InputCountMismatch(InvalidArgument):
    """More inputs than the signature takes, or fewer where it has no defaults."""

    def __init__(self, given: Collection[str], expected: Collection[str]) -> None:
        super().__init__(
            f"input size does not match signature: {len(given)}!={len(expected)} len({_set(given)}) != "
            f"len({_set(expected)}). Sent extra: {_set(set(given) - set(expected))}. "
            f"Missing but required: {_set(set(expected) - set(given))}."
        )


class UnknownInput(InvalidArgument):
    """An input that the signature does not take."""

    def __init__(self, alias: str, expected: Collection[str]) -> None:
        super().__init__(
            f"input tensor alias not found in signature: {alias}. Inputs expected to be in the set {_set(expected)}."
        )


class MissingInput(InvalidArgument):
    """An input that the request leaves out and the signature has no default for."""

    def __init__(self, alias: str, tensor: str, given: Collection[str], defaults: Collection[str]) -> None:
        super().__init__(
            f"Signature input alias: {alias}(feed name: {tensor}) not found in request and no default value provided. "
            f"Inputs expected to be in the request {_set(given)}, or default input alias set: "
            f"{','.join(sorted(defaults))}"
        )


class UnparsableTensor(InvalidArgument):
    """An input's TensorProto is no tensor."""

    def __init__(self, alias: str) -> None:
        super().__init__(f"tensor parsing error: {alias}")


class WrongType(InvalidArgument):
    """An input's dtype is not the signature's; `index` counts the signature's tensors in the order of their names."""

    def __init__(self, index: int, expected: str, given: str) -> None:
        super().__init__(f"Expects arg[{index}] to be {expected} but {given} is provided")


class UnknownOutput(InvalidArgument):
    """The output filter names an output that the signature does not give."""

    def __init__(self, alias: str, expected: Collection[str]) -> None:
        # TFS writes no full stop after the alias here.
        super().__init__(
            f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {_set(expected)}."
        )


class DuplicateOutput(InvalidArgument):
    """The output filter names an output twice."""

    def __init__(self, alias: str) -> None:
        super().__init__(f"duplicate output tensor alias: {alias}")


class EmptyInput(InvalidArgument):
    """The request holds no example."""

    def __init__(self) -> None:
        super().__init__("Input is empty.")


class SignatureNotNamed(InvalidArgument):
    """The model has no such signature: Classify and Regress say it in words and a code of their own."""

    def __init__(self, key: str) -> None:
        super().__init__(f"No signature was found with the name: {key}")


class UnfitSignature(InvalidArgument):
    """The signature has more or fewer tensors than a classification or a regression has."""


class SignatureLacksTensor(ServingError):
    """The signature has as many tensors as are needed, but none of the name that is looked for."""

    code = StatusCode.FAILED_PRECONDITION


class UnfitOutput(InvalidArgument):
    """The model gave a tensor that is no classification's or regression's."""


class MissingTaskModel(InvalidArgument):
    """A task of a MultiInference names no model."""

    def __init__(self) -> None:
        super().__init__("Found ModelSpec with an empty model name.")


class SeveralModels(InvalidArgument):
    """The tasks of a MultiInference name more than one model."""

    def __init__(self) -> None:
        super().__init__("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


class RepeatedSignature(InvalidArgument):
    """Two tasks of a MultiInference name the same signature."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Duplicate evaluation of signature: {key}")


class RequestedSignatureNotFound(InvalidArgument):
    """The model has no such signature, in MultiInference's words."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Requested signature not found in model graph: {key}")


class SeveralInputs(InvalidArgument):
    """The signatures of a MultiInference read different tensors."""

    def __init__(self) -> None:
        super().__init__("Input tensor must be the same for all Signatures.")


class UnsupportedMethod(ServingError):
    """A task of a MultiInference is neither a classification nor a regression."""

    code = StatusCode.UNIMPLEMENTED

    def __init__(self, method: str) -> None:
        super().__init__(f"Unsupported signature method_name: {method}")


class NoMetadataField(InvalidArgument):
    """The request asks for no metadata."""

    def __init__(self) -> None:
        super().__init__("GetModelMetadataRequest must specify at least one metadata_field")


class UnknownMetadataField(InvalidArgument):
    """The request asks for metadata other than the signatures."""

    def __init__(self, field: str) -> None:
        # TFS appends the name to a format that it never fills in.
        super().__init__(f"Metadata field %s is not supported{field}")


class LabelledVersionUnavailable(ServingError):
    """The configuration gives a label to a version that is not AVAILABLE."""

    code = StatusCode.FAILED_PRECONDITION

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"Request to assign label to version {version} of model {name}, which is not currently available for "
            "inference"
        )


class ServablesUnavailable(ServingError):
    """The configuration was adopted, but not all of it could be loaded; each of `descriptions` is for one version."""

    code = StatusCode.UNKNOWN

    def __init__(self, descriptions: Collection[str]) -> None:
        listed = "".join(f"{text}, " for text in descriptions)
        super().__init__(f"{len(descriptions)} servable(s) did not become available: {{{listed}}}")


class ModelError(ServingError):
    """TensorFlow failed in loading or running a model: its own code and text."""

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def _set(names: Collection[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
