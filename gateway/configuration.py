"""Reads the settings, at start and again while the gateway runs, and says in which line of the file a mistake is."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import CliApp, SettingsError

from gateway.settings import CONFIG_VARIABLE, Settings

Location = tuple[int | str, ...]


class ConfigurationError(Exception):
    """The settings make no sense; one line of the message for each reason."""


def file() -> Path | None:
    """The settings file, if there is one."""
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def load(arguments: Sequence[str]) -> Settings:
    """The settings from file, environment and command line. ConfigurationError says all that is wrong with them."""
    path = file()
    root = _compose(path) if path else None
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as error:
        lines = [_problem(problem["loc"], problem["msg"], problem["input"], path, root) for problem in error.errors()]
        raise ConfigurationError("\n".join(lines)) from error
    except (SettingsError, OSError) as error:
        raise ConfigurationError(str(error)) from error


def differences(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[str]:
    """The names of the settings that differ."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name


def _compose(path: Path) -> yaml.Node | None:
    """The file's YAML with the place of everything."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except OSError as error:
        raise ConfigurationError(f"settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigurationError(f"{path}:{mark.line + 1 if mark else 1}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(f"{path}:{root.start_mark.line + 1}: expected settings by name")
    twice = [f"{path}:{key.start_mark.line + 1}: `{key.value}` stands here twice" for key in _duplicates(root)]
    if twice:
        raise ConfigurationError("\n".join(twice))
    return root


def _duplicates(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Keys that a mapping has had before, of which YAML would take the last in silence."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                yield key
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)


def _problem(location: Location, text: str, value: Any, path: Path | None, root: yaml.Node | None) -> str:
    text = text.removeprefix("Value error, ")
    # What is wrong between several settings has no place of its own.
    described = f"setting `{'.'.join(map(str, location))}`: {text}" if location else text
    line = _line(location, value, root) if location else None
    return f"{path}:{line}: {described}" if line is not None else described


def _line(location: Location, value: Any, node: yaml.Node | None) -> int | None:
    """The line of the setting, if the file has it, and not the environment or the command line in its stead."""
    line = None
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, child) for key, child in node.value if key.value == str(step)), None)
            if found is None:
                # Something is missing here, or the step is one inside the library and none of the file.
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode) and str(value) != node.value and value != yaml.safe_load(node.value):
        return None
    return line
