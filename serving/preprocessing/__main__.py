"""`python -m serving.preprocessing`: the steps with their parameters, as docs/preprocessing.md ends with them."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from serving.preprocessing import decode, ink, pixels, table, tensor
from serving.preprocessing.pipeline import STEPS, schema

HEADING = "## The steps"
_KINDS = {
    decode: "Images: first",
    pixels: "Images",
    ink: "Images of one bright thing on a dark ground",
    table: "Tables: from `select` to `assemble`",
    tensor: "Tensors: last",
}
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


def page() -> str:
    """The end of docs/preprocessing.md, in Markdown."""
    return "\n".join([HEADING, "", *_page()])


def _page() -> Iterator[str]:
    for module, title in _KINDS.items():
        yield f"### {title}\n"
        for name, function in STEPS.items():
            if function.__module__ != module.__name__:
                continue
            yield f"**`{name}`** – {inspect.getdoc(function)}\n"
            described = schema(name)
            if described["properties"]:
                yield "| parameter | type | default |\n|---|---|---|"
                for parameter, values in described["properties"].items():
                    default = _default(values) if parameter not in described.get("required", ()) else "required"
                    yield f"| `{parameter}` | {_type(values, described.get('$defs', {}))} | {default} |"
                yield ""


def _type(values: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in values:
        fields = definitions[values["$ref"].rpartition("/")[2]]["properties"]
        return "{" + ", ".join(f"`{name}`: {_type(inner, definitions)}" for name, inner in fields.items()) + "}"
    if "enum" in values:
        return ", ".join(f"`{value}`" for value in values["enum"])
    if "anyOf" in values:
        kinds = [_type(inner, definitions) for inner in values["anyOf"] if inner.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if values["type"] == "array":
        return f"list of {_type(values['items'], definitions)}"
    if values["type"] == "object":
        return f"by column: {_type(values['additionalProperties'], definitions)}"
    bounds = (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    )
    return " ".join([_TYPES[values["type"]], *(f"{word} {values[key]:g}" for key, word in bounds if key in values)])


def _default(values: Mapping[str, Any]) -> str:
    default = values.get("default")
    if default in (None, []):
        return ""
    return f"{default:.5g}" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    print(page(), end="")
