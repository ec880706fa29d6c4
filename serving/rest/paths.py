"""The REST API's paths (http_rest_api_util.cc): a model, maybe a version or a label of it, and what is asked of it.

POST /v1/models/M[/versions/N|/labels/L]:(classify|regress|predict)
GET  /v1/models/M[/versions/N|/labels/L][/metadata]
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from serving.rest.errors import BadVersion, MalformedRequest, MissingName
from serving.wire import tensorflow_serving_pb2 as tfs

_MAX_VERSION = 2**63 - 1
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
# As in TFS upper and lower case are the same, but in the method, which it compares once more.
_PATHS = {
    "POST": re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE),
    "GET": re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<method>/metadata)?", re.IGNORECASE),
}
_METHODS = ("classify", "regress", "predict", "/metadata", None)


class Target(NamedTuple):
    """What a path asks for: a method (`classify`, `regress`, `predict`, `metadata`, `status`) of a model's version."""

    method: str
    spec: tfs.ModelSpec


def target(http_method: str, path: str) -> Target:
    """What is asked for; `path` is as it was sent, without the query. MalformedRequest, BadVersion or MissingName."""
    found = _PATHS[http_method].fullmatch(path) if http_method in _PATHS else None
    if not found or found["method"] not in _METHODS:
        raise MalformedRequest(http_method, path)
    spec = tfs.ModelSpec(name=unquote(found["name"] or ""))
    if found["version"]:
        # Longer ones would take long to read.
        if len(found["version"]) > len(str(_MAX_VERSION)) or int(found["version"]) > _MAX_VERSION:
            raise BadVersion(found["version"])
        spec.version.value = int(found["version"])
    if found["label"]:
        spec.version_label = unquote(found["label"])
    if not spec.name:
        raise MissingName
    return Target((found["method"] or "status").removeprefix("/"), spec)
