"""Failures that TensorFlow Serving's protocols carry to a caller: a code and a text."""

from grpc import StatusCode

_TEXT_LIMIT = 1024


class ServingError(Exception):
    """A failure whose code and text are the caller's to see."""

    code: StatusCode

    @property
    def text(self) -> str:
        """The text as it goes over the wire, cut as TFS cuts it (grpc_status_util.cc)."""
        text = str(self)
        return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}...TRUNCATED"


class InvalidArgument(ServingError):
    """The request is wrong whatever the server holds."""

    code = StatusCode.INVALID_ARGUMENT
