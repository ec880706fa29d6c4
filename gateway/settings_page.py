"""Every setting with its type, default and meaning, as a page: `docs/configuration.md`."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.reload import RELOADABLE
from gateway.settings import Settings

HEAD = """# Every setting

`python -m gateway settings` writes this page.

Settings stand in a YAML file that `TENSORGATE_CONFIG` names, in the environment, or on the command line; later ones
win. `backend.address` is `backend: {address: …}` in the file, `TENSORGATE_BACKEND__ADDRESS` in the environment (two
underscores between levels) and `--backend.address` on the command line (`-` for `_` there). Outside the file, tables
are JSON.

`python -m gateway check-config` reads the settings and the files that they name. It ends with status 0, or with 1 and a
line for each mistake: ``gateway.yaml:12: setting `limits.client.burst`: Input should be greater than or equal to 1``.

Settings marked ↻ are taken while the gateway runs: within a second of a change to the file, or at SIGHUP. Should the
new settings make no sense, all stay as they were and the log says why; it also names changes that need a restart. Keys
and certificates are read again by themselves when their files change.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *_section(Settings, "", "The gateway")])


def _section(model: type[BaseModel], prefix: str, title: str) -> Iterator[str]:
    yield f"## {title}\n"
    if prefix:
        yield f"{_text(model.__doc__)}\n"
    yield "| setting | type | default | |"
    yield "|---|---|---|---|"
    nested: list[tuple[Any, str]] = []
    for name, field in model.model_fields.items():
        full = prefix + name
        inner = _model(field.annotation)
        if inner is not None and inner is field.annotation:
            nested.append((inner, f"{full}."))
            continue
        mark = " ↻" if full.startswith(RELOADABLE) else ""
        yield f"| `{full}`{mark} | {_type(field.annotation)} | {_default(field)} | {_text(field.description)} |"
        if inner is not None:
            nested.append((inner, f"{full}{'[]' if get_origin(field.annotation) is tuple else '.<name>'}."))
    yield ""
    for inner, inner_prefix in nested:
        yield from _section(inner, inner_prefix, f"`{inner_prefix.rstrip('.')}`")


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section that a setting is, or has many of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is Annotated or origin in (Union, types.UnionType):
        kinds = parts[:1] if origin is Annotated else [part for part in parts if part is not types.NoneType]
        return " or ".join(dict.fromkeys(_type(kind) for kind in kinds))
    if origin in (tuple, frozenset, dict):
        return f"{'table' if origin is dict else 'list'} of {_type(parts[1] if origin is dict else parts[0])}"
    return "table" if issubclass(annotation, BaseModel) else _NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is PydanticUndefined:
        return "" if field.default_factory is not None else "required"
    if field.default is None or field.default in ((), frozenset()):
        return ""
    if isinstance(field.default, tuple | frozenset):
        return " ".join(f"`{value}`" for value in sorted(field.default))
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


_NAMES = {
    str: "text",
    SecretStr: "secret",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Path: "file",
}
