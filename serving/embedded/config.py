"""Which models to serve, and what of them: TensorFlow Serving's ModelServerConfig, checked and in our own types.

Sources: tensorflow_serving/config/{model_server_config,file_system_storage_path_source}.proto and
tensorflow_serving/model_servers/server_core.cc for the checks and their texts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from serving.embedded.errors import UnknownLogCollector
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import InvalidArgument

_PLATFORM = "tensorflow"
_LOG_COLLECTORS = ("", "file")


class Policy(Protocol):
    """Which of the versions that a base path holds are to be served."""

    def choose(self, versions: Iterable[tuple[int, Path]]) -> dict[int, Path]:
        """The versions to serve, of `versions` from the highest down, with their directories."""


@dataclass(frozen=True)
class Latest:
    """The `count` highest."""

    count: int = 1

    def choose(self, versions: Iterable[tuple[int, Path]]) -> dict[int, Path]:
        """See Policy.choose."""
        return dict(islice(versions, self.count))


@dataclass(frozen=True)
class All:
    """All there are."""

    def choose(self, versions: Iterable[tuple[int, Path]]) -> dict[int, Path]:
        """See Policy.choose."""
        return dict(versions)


@dataclass(frozen=True)
class Specific:
    """Those with the given numbers, as far as they are there."""

    numbers: frozenset[int]

    def choose(self, versions: Iterable[tuple[int, Path]]) -> dict[int, Path]:
        """See Policy.choose."""
        return {number: path for number, path in versions if number in self.numbers}


@dataclass(frozen=True)
class Logging:
    """Where a sample of a model's requests is logged: files whose absolute paths begin with `filename_prefix`."""

    filename_prefix: str
    sampling_rate: float
    """From 0, none, to 1, all."""


@dataclass(frozen=True)
class Model:
    """A model to serve; `labels` are names for versions."""

    name: str
    base_path: Path
    policy: Policy = Latest()
    labels: Mapping[str, int] = field(default_factory=dict)
    logging: Logging | None = None


def models_of(config: tfs.ModelServerConfig) -> list[Model]:
    """The models of a configuration; InvalidArgument if it has none of a list, or one that TFS would refuse."""
    if config.WhichOneof("config") != "model_config_list":
        raise InvalidArgument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        )
    names: set[str] = set()
    for entry in config.model_config_list.config:
        if entry.name in names:
            raise InvalidArgument(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
        _check(entry)
    return [
        Model(
            entry.name,
            Path(entry.base_path),
            _policy(entry.model_version_policy),
            dict(entry.version_labels),
            _logging(entry) if entry.HasField("logging_config") else None,
        )
        for entry in config.model_config_list.config
    ]


def _check(entry: tfs.ModelConfig) -> None:
    if not entry.name:
        raise InvalidArgument("a model of the config list has no name")
    if not Path(entry.base_path).is_absolute():
        raise InvalidArgument(
            f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
        )
    typed, platform = entry.model_type == tfs.TENSORFLOW, entry.model_platform
    if typed and platform:
        raise InvalidArgument("Illegal setting both model_type(deprecated) and model_platform.")
    if not typed and not platform:
        raise InvalidArgument("Illegal setting neither model_type(deprecated) nor model_platform.")
    if not typed and platform != _PLATFORM:
        raise InvalidArgument(f"model {entry.name} is of the platform {platform}; expected {_PLATFORM}")


def _policy(policy: tfs.FileSystemStoragePathSourceConfig.ServableVersionPolicy) -> Policy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(frozenset(policy.specific.versions))
        case _:
            return Latest(max(policy.latest.num_versions, 1))


def _logging(entry: tfs.ModelConfig) -> Logging:
    collector, rate = entry.logging_config.log_collector_config, entry.logging_config.sampling_config.sampling_rate
    if collector.type not in _LOG_COLLECTORS:
        raise UnknownLogCollector(collector.type)
    if not Path(collector.filename_prefix).is_absolute():
        raise InvalidArgument(
            f"the log of model {entry.name} needs an absolute filename_prefix; got {collector.filename_prefix!r}"
        )
    if not 0 <= rate <= 1:
        raise InvalidArgument(f"the log of model {entry.name} needs a sampling_rate from 0 to 1; got {rate}")
    return Logging(collector.filename_prefix, rate)
