"""What the gateway refuses or fails to do, as types. `status` maps them to codes; anything else becomes INTERNAL.

GatewayError
├── InvalidInput         the caller's instance or argument is wrong
│   └── NotFinite        a tensor holds NaN or infinity where the contract describes numbers
├── InvalidReceipt       a prediction's id that this gateway does not take
├── ModelNotFound        model, version or signature does not exist
├── Unsupported          the model cannot be asked in this way
├── Unauthenticated      no credential, or one that is not valid
├── CredentialUncheckable  who could say whether the credential is valid does not answer; retry later
├── PermissionDenied     the credential does not cover this
├── PreprocessingFailed  a preprocessing step of the model's owner failed on the instance
├── RequestTooLarge      more bytes or instances than a request may have
├── Overloaded           too much at once; retry later
├── Conflict             somebody else has changed it meanwhile
├── PreconditionFailed   the state of things does not allow it
├── NotReady             no version of the model can answer yet; retry later
├── BackendUnavailable   the backend cannot be reached; retry later
├── FeedbackUnavailable  labels cannot be kept at the moment; retry later
├── DeadlineExceeded     the caller's time, or the backend's, ran out
├── BackendFailed        the backend answered with an error or with nonsense
│   └── BackendRejected  the backend found the request itself wrong
└── BackendStatus        the backend's own status, for a caller who speaks its protocol
"""

from collections.abc import Mapping


class GatewayError(Exception):
    """Something the caller is told about: a reason for machines, a message for people."""

    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        private: str = "",
        upstream: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.reason
        self.field = field
        """The path of the request's field that is wrong, e.g. `instances[2].image`."""
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        """Seconds after which the same call may succeed; None if it will not."""
        self.private = private
        """More for the log, and not for the caller."""
        self.upstream = upstream
        """The name of the backend's status code and its text, where it is the backend that answered so."""


class InvalidInput(GatewayError):
    """The caller's instance or argument is wrong."""

    reason = "INVALID_INPUT"


class NotFinite(InvalidInput):
    """A tensor holds NaN or infinity where the contract describes numbers."""

    reason = "TENSOR_NOT_FINITE"


class InvalidReceipt(GatewayError):
    """A prediction's id that this gateway does not take."""

    reason = "RECEIPT_INVALID"


class ModelNotFound(GatewayError):
    """The model, version or signature does not exist."""

    reason = "MODEL_NOT_FOUND"


class Unsupported(GatewayError):
    """The model cannot be asked in this way."""

    reason = "UNSUPPORTED"


class Unauthenticated(GatewayError):
    """No credential, or one that is not valid."""

    reason = "CREDENTIAL_MISSING"


class CredentialUncheckable(GatewayError):
    """Who could say whether the credential is valid does not answer."""

    reason = "CREDENTIAL_UNCHECKABLE"


class PermissionDenied(GatewayError):
    """The credential does not cover this."""

    reason = "SCOPE_MISSING"


class PreprocessingFailed(GatewayError):
    """A preprocessing step of the model's owner failed on the instance; what it raised is the cause, for the log."""

    reason = "STEP_FAILED"


class RequestTooLarge(GatewayError):
    """More bytes or instances than a request may have."""

    reason = "REQUEST_TOO_LARGE"


class Overloaded(GatewayError):
    """Too much at once."""

    reason = "OVERLOADED"


class Conflict(GatewayError):
    """Somebody else has changed it meanwhile."""

    reason = "CONFLICT"


class PreconditionFailed(GatewayError):
    """The state of things does not allow it."""

    reason = "PRECONDITION_FAILED"


class NotReady(GatewayError):
    """No version of the model can answer yet."""

    reason = "MODEL_NOT_READY"


class BackendUnavailable(GatewayError):
    """The backend cannot be reached."""

    reason = "BACKEND_UNAVAILABLE"


class FeedbackUnavailable(GatewayError):
    """Labels cannot be kept, or read, at the moment."""

    reason = "FEEDBACK_UNAVAILABLE"


class DeadlineExceeded(GatewayError):
    """The caller's time, or the backend's, ran out."""

    reason = "DEADLINE_EXCEEDED"


class BackendFailed(GatewayError):
    """The backend answered with an error or with nonsense."""

    reason = "BACKEND_FAILED"


class BackendRejected(BackendFailed):
    """The backend found the request itself wrong."""

    reason = "BACKEND_REJECTED"


class BackendStatus(GatewayError):
    """The backend's own status, code and text, for a caller who speaks its protocol."""

    reason = "BACKEND_STATUS"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The status code's name."""
