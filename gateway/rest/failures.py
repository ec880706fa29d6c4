"""A call's status as HTTP's status, headers and JSON: in TensorFlow Serving's form, or in the Connect protocol's."""

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from gateway.status import bounded
from serving.rest.http_status import http_status

_TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Failure:
    """What the caller is told."""

    code: grpc.StatusCode
    status: status_pb2.Status

    @property
    def http_status(self) -> int:
        """HTTP's status; a request that is too large is not to be tried again, as 429 would have it."""
        info = error_details_pb2.ErrorInfo()
        if any(detail.Unpack(info) and info.reason == "REQUEST_TOO_LARGE" for detail in self.status.details):
            return _TOO_LARGE
        return http_status(self.code)

    @property
    def headers(self) -> dict[str, str]:
        """When to come again, or what to show."""
        headers = {"www-authenticate": "Bearer"} if self.code is grpc.StatusCode.UNAUTHENTICATED else {}
        retry = error_details_pb2.RetryInfo()
        if any(detail.Unpack(retry) for detail in self.status.details):
            headers["retry-after"] = str(math.ceil(retry.retry_delay.ToTimedelta().total_seconds()))
        return headers

    def tensorflow(self) -> bytes:
        """TensorFlow Serving's `error`, with the code and google.rpc details beside it."""
        details = [json_format.MessageToDict(detail) for detail in self.status.details]
        return _json({"error": self.status.message, "code": self.code.name, "details": details})

    def connect(self) -> bytes:
        """The Connect protocol's error."""
        details: list[dict[str, Any]] = [
            {
                "type": detail.TypeName(),
                "value": base64.b64encode(detail.value).rstrip(b"=").decode(),
                "debug": {name: value for name, value in json_format.MessageToDict(detail).items() if name != "@type"},
            }
            for detail in self.status.details
        ]
        code = "canceled" if self.code is grpc.StatusCode.CANCELLED else self.code.name.lower()
        return _json({"code": code, "message": self.status.message, "details": details})


def plain(code: grpc.StatusCode, text: str) -> Failure:
    """A failure without details."""
    return Failure(code, status_pb2.Status(message=bounded(text)))


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
