"""The OpenAPI document: what the models that a caller may ask take and give."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.call import current_call
from gateway.catalog import Catalog, Model, Servable
from gateway.rest import connect
from gateway.rest.context import HttpContext
from gateway.rest.json_schema import IMAGE, Schema, add_message, tensor
from gateway.rest.tf_serving import accepts_images

PATH = "/openapi.json"
_OK = "200"
_ERROR = {"$ref": "#/components/schemas/Error"}
_FAILURES = {
    "400": "The request is wrong.",
    "401": "No valid credential.",
    "403": "The credential does not cover this.",
    "404": "There is no such model, version or signature.",
    "413": "The request is too large.",
    "429": "Too much at once; Retry-After says when to come again.",
    "503": "No version is ready, or the model server is away; Retry-After says when to come again.",
    "504": "The time ran out.",
}


class OpenApi:
    """The document, made anew for each caller; `files` are the descriptors of the services on the port."""

    def __init__(self, catalog: Catalog, files: Sequence[Any]) -> None:
        self._catalog = catalog
        self._files = files

    async def document(self, _body: bytes, _context: HttpContext) -> bytes:
        """OpenAPI 3.1, of the models that the caller may ask."""
        principal = current_call.get().principal
        models = [model for name, model in sorted(self._catalog.models.items()) if principal.may("predict", name)]
        return json.dumps(document(models, self._files), ensure_ascii=False).encode()


def document(models: Iterable[Model], files: Iterable[Any]) -> Schema:
    """OpenAPI 3.1 of models, and of our own services in `files`, descriptors."""
    schemas: dict[str, Schema] = {"Error": _error()}
    paths: dict[str, Schema] = {}
    for model in models:
        paths |= _model_paths(model)
    for path, method in connect.unary(files):
        paths[path] = {
            "post": _operation(
                method.name,
                f"{method.name} of tensorgate.v1, by the Connect protocol.",
                "tensorgate.v1",
                add_message(method.output_type, schemas),
                body=add_message(method.input_type, schemas),
            )
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tensorgate", "version": "1", "description": "Predictions over HTTP and JSON."},
        "security": [{"key": []}, {"header": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of an issuer."},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _model_paths(model: Model) -> dict[str, Schema]:
    base = f"/v1/models/{model.name}"
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"enum": sorted(number for number, known in model.versions.items() if known.servable)},
    }
    paths: dict[str, Schema] = {
        base: {"get": _operation(f"{model.name}-status", "The states of the versions.", model.name, {})},
        f"{base}/metadata": {"get": _operation(f"{model.name}-metadata", "The signatures.", model.name, {})},
    }
    if model.default is not None:
        servable = model.default
        asked, answered = _predict_body(servable), _predict_answer(servable)
        text = _described(servable)
        paths[f"{base}:predict"] = {"post": _operation(f"{model.name}-predict", text, model.name, answered, body=asked)}
        paths[f"{base}/versions/{{version}}:predict"] = {
            "parameters": [version],
            "post": _operation(f"{model.name}-predict-version", text, model.name, answered, body=asked),
        }
    return paths


def _described(servable: Servable) -> str:
    contract = servable.contract
    if contract is None:
        return "Tensors in, tensors out."
    labels = ", ".join(contract.postprocessing.labels)
    return f"{contract.name}, {contract.postprocessing.task}" + (f" of: {labels}." if labels else ".")


def _predict_body(servable: Servable) -> Schema:
    """Either form of every signature."""
    forms = []
    for name, signature in sorted(servable.signatures.items()):
        images = accepts_images(servable, name)
        rows: Schema = {key: tensor(spec, rows=True) for key, spec in sorted(signature.inputs.items())}
        columns: Schema = {key: tensor(spec, rows=False) for key, spec in sorted(signature.inputs.items())}
        if images:
            rows = {key: {"anyOf": [IMAGE, schema]} for key, schema in rows.items()}
            columns = {key: {"anyOf": [{"type": "array", "items": IMAGE}, schema]} for key, schema in columns.items()}
        key = {"signature_name": {"const": name}}
        needed = [] if name == servable.default_signature else ["signature_name"]
        row, column = _one_or_named(rows), _one_or_named(columns)
        forms += [
            _object(key | {"instances": {"type": "array", "minItems": 1, "items": row}}, [*needed, "instances"]),
            _object(key | {"inputs": column}, [*needed, "inputs"]),
        ]
    return {"oneOf": forms}


def _predict_answer(servable: Servable) -> Schema:
    forms = []
    for _, signature in sorted(servable.signatures.items()):
        rows = {key: tensor(spec, rows=True) for key, spec in sorted(signature.outputs.items())}
        columns = {key: tensor(spec, rows=False) for key, spec in sorted(signature.outputs.items())}
        row = next(iter(rows.values())) if len(rows) == 1 else _object(rows, list(rows))
        column = next(iter(columns.values())) if len(columns) == 1 else _object(columns, list(columns))
        forms += [
            _object({"predictions": {"type": "array", "items": row}}, ["predictions"]),
            _object({"outputs": column}, ["outputs"]),
        ]
    return {"anyOf": forms}


def _one_or_named(tensors: Schema) -> Schema:
    named = _object(tensors, list(tensors))
    return {"anyOf": [next(iter(tensors.values())), named]} if len(tensors) == 1 else named


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _operation(identity: str, text: str, tag: str, answer: Schema, *, body: Schema | None = None) -> Schema:
    operation: Schema = {
        "operationId": identity,
        "summary": text,
        "tags": [tag],
        "responses": {
            _OK: {"description": "The answer.", "content": _json(answer)},
            **{status: {"description": why, "content": _json(_ERROR)} for status, why in _FAILURES.items()},
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error() -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "`error` under /v1, as TensorFlow Serving has it; elsewhere `message`, as Connect has it.",
        "properties": {
            "error": text,
            "message": text,
            "code": text,
            "details": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["code", "details"],
    }
