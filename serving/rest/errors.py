"""What only REST requests fail with: TensorFlow Serving's codes and texts (json_tensor.cc, http_rest_api_util.cc).

ServingError
├── InvalidArgument
│   ├── MalformedRequest, MissingName, BadVersion: the path
│   ├── BadJson: the body
│   ├── SignatureNotDefined
│   └── Unprintable: what the model gave
├── Unconvertible
└── TimedOut
"""

from grpc import StatusCode

from serving.wire.errors import InvalidArgument, ServingError


class MalformedRequest(InvalidArgument):
    """There is no such path, or not with this method."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Malformed request: {method} {path}")


class MissingName(InvalidArgument):
    """The path names no model."""

    def __init__(self) -> None:
        super().__init__("Missing model name in request.")


class BadVersion(InvalidArgument):
    """The path's version is no 64-bit number."""

    def __init__(self, version: str) -> None:
        super().__init__(f"Failed to convert version: {version} to numeric.")


class BadJson(InvalidArgument):
    """The body is no JSON, or not what the method takes."""


class SignatureNotDefined(InvalidArgument):
    """The model has no such signature, in the words and with the code of REST's Predict."""

    def __init__(self, key: str) -> None:
        super().__init__(f'Serving signature name: "{key}" not found in signature def')


class Unprintable(InvalidArgument):
    """The model gave what cannot be written in the format that was asked for."""


class Unconvertible(ServingError):
    """The signature's input is of a type that JSON cannot give."""

    code = StatusCode.UNIMPLEMENTED


class TimedOut(ServingError):
    """The answer took longer than --rest_api_timeout_in_ms."""

    code = StatusCode.DEADLINE_EXCEEDED

    def __init__(self) -> None:
        super().__init__("Timed out waiting for notification")
