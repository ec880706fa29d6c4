"""Steps of one's own, by import path: a function, or a pydantic model that can be called."""

import importlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from serving.preprocessing.errors import InputError, StepError, StepFailedError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def is_path(name: str) -> bool:
    """Whether a step's name is an import path, `module:function`, and not one of ours."""
    return ":" in name


def load(path: str, allowed: Collection[str]) -> Callable[..., Any] | type[BaseModel]:
    """What `path` names, if `allowed` has it or its module; StepError if not, before anything is imported.

    Of a module that is allowed, what it has imported itself is not: a contract must not reach the `system` of a
    `from os import system`.
    """
    if not _PATH.fullmatch(path):
        raise StepError("expected module:function")
    module, _, name = path.partition(":")
    if path not in allowed and module not in allowed:
        raise StepError("it is not allowed here; a gateway runs what its setting `preprocessing.allowed_steps` lists")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except Exception as error:
        # A module may raise anything while it is imported.
        raise StepError(f"it cannot be imported: {type(error).__name__}: {error}") from error
    is_class = isinstance(found, type)
    if not callable(found) or (is_class and not issubclass(found, BaseModel)):
        raise StepError("expected a function, or a pydantic model that can be called")
    if path not in allowed and getattr(found, "__module__", None) != module:
        raise StepError(f"it is not defined in {module}, only imported there")
    try:
        takes = inspect.signature(found.__call__ if is_class else found).parameters.values()
    except ValueError as error:
        raise StepError(f"it does not say what it takes: {error}") from error
    required = [each for each in takes if each.kind in _POSITIONAL and each.default is each.empty]
    # Of a class, `self` is one more.
    if len(required) != 1 + is_class or any(each.kind is each.VAR_KEYWORD for each in takes):
        raise StepError("expected one positional argument, and parameters as keyword-only ones")
    checked: Callable[..., Any] | type[BaseModel] = found
    return checked


def guarded(name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`step`, with StepFailedError for all that it raises but InputError, and unless it returns arrays."""

    def run(value: Any) -> Any:
        try:
            result = step(value)
        except InputError:
            raise
        except Exception as error:
            raise StepFailedError(f"the step {name} failed: {type(error).__name__}") from error
        arrays = result.values() if isinstance(result, Mapping) else (result,)
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise StepFailedError(
                f"the step {name} returned {type(result).__name__}; expected what the next step takes"
            )
        return result

    return run
