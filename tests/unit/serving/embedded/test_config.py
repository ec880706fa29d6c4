"""serving.embedded.config and config_file: what a configuration says, and what is wrong with it."""

from pathlib import Path

import pytest
from google.protobuf import text_format

from serving.embedded.config import All, Latest, Logging, Model, Specific, models_of
from serving.embedded.config_file import read_models
from serving.embedded.text_proto import ConfigFileError
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import ServingError

PLATFORM = 'model_platform: "tensorflow"'


def config(*entries: str) -> str:
    """A configuration of models, each in the text format."""
    listed = "".join(f"config {{ {entry} }}\n" for entry in entries)
    return f"model_config_list {{ {listed} }}"


def logged(text: str) -> str:
    """A configuration of a model whose requests are logged."""
    return config(f'name: "m" base_path: "/m" {PLATFORM} logging_config {{ {text} }}')


def test_models(tmp_path: Path) -> None:
    """A file names models with their base paths, version policies and labels."""
    file = tmp_path / "models.config"
    file.write_text(
        config(
            f'name: "a" base_path: "/a" {PLATFORM}',
            'name: "b" base_path: "/b" model_type: TENSORFLOW model_version_policy { latest {} }',
            f'name: "c" base_path: "/c" {PLATFORM} model_version_policy {{ latest {{ num_versions: 2 }} }}',
            f'name: "d" base_path: "/d" {PLATFORM} model_version_policy {{ all {{}} }} '
            'logging_config { log_collector_config { type: "file" filename_prefix: "/logs/d" } '
            "sampling_config { sampling_rate: 0.25 } }",
            f'name: "e" base_path: "/e" {PLATFORM} model_version_policy: {{ specific: {{ versions: [1, 3] }} }} '
            'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 }',
        )
    )
    assert read_models(file) == [
        Model("a", Path("/a")),
        Model("b", Path("/b"), Latest(1)),
        Model("c", Path("/c"), Latest(2)),
        Model("d", Path("/d"), All(), logging=Logging("/logs/d", 0.25)),
        Model("e", Path("/e"), Specific(frozenset({1, 3})), {"stable": 1, "canary": 3}),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"),
        ("custom_model_config {}", "ServerModelConfig type not supported"),
        (
            config(f'name: "m" base_path: "/m" {PLATFORM}', f'name: "m" base_path: "/n" {PLATFORM}'),
            "Illegal to list model m multiple times in config list",
        ),
        (config(f'base_path: "/m" {PLATFORM}'), "a model of the config list has no name"),
        (
            config(f'name: "m" base_path: "m" {PLATFORM}'),
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (config('name: "m" base_path: "/m"'), "Illegal setting neither model_type(deprecated) nor model_platform."),
        (
            config(f'name: "m" base_path: "/m" {PLATFORM} model_type: TENSORFLOW'),
            "Illegal setting both model_type(deprecated) and model_platform.",
        ),
        (
            config('name: "m" base_path: "/m" model_platform: "torch"'),
            "model m is of the platform torch; expected tensorflow",
        ),
        (logged('log_collector_config { type: "kafka" }'), "Cannot find LogCollector::Factory for type: kafka"),
        (
            logged('log_collector_config { filename_prefix: "x" }'),
            "the log of model m needs an absolute",
        ),
        (
            logged('log_collector_config { filename_prefix: "/x" } sampling_config { sampling_rate: 2 }'),
            "the log of model m needs a sampling_rate from 0 to 1; got 2.0",
        ),
    ],
)
def test_refusals(text: str, problem: str) -> None:
    """A configuration that cannot be served says why."""
    with pytest.raises(ServingError) as caught:
        models_of(text_format.Parse(text, tfs.ModelServerConfig()))
    assert str(caught.value).startswith(problem)


def test_empty_list() -> None:
    """A list of no models is a configuration like any other."""
    assert models_of(tfs.ModelServerConfig(model_config_list=tfs.ModelConfigList())) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, ": No such file or directory"),
        (b"\xff", "can't decode byte 0xff"),
        (
            b'model_config_list {\n  config { base_pat: "/m" }\n}',
            ':2:12 : Message type "tensorflow.serving.ModelConfig"',
        ),
        (b"model_config_list { config {", 'Expected "}"'),
        (b"", "ServerModelConfig type not supported"),
    ],
    ids=["missing", "no text", "typo", "cut short", "empty"],
)
def test_unreadable_file(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A file that is no configuration is one line that names it, and where in it."""
    file = tmp_path / "models.config"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigFileError) as caught:
        read_models(file)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{file}:")
    assert problem in line
