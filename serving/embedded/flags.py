"""The command line: TensorFlow Serving's names (tensorflow_serving/model_servers/main.cc), in either spelling.

`--flag=value` and `--flag value` are the same; `--flag` alone turns a boolean on.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from serving.embedded import flag_values
from serving.embedded.flags_without_effect import FLAGS_WITHOUT_EFFECT
from serving.transport.default import default_transport


def _about(group: str, parse: Callable[[str], Any], text: str) -> dict[str, Any]:
    return {"group": group, "parse": parse, "help": text}


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the server was told at start."""

    model_base_path: Path | None = field(
        default=None,
        metadata=_about(
            "model", flag_values.path, "directory that holds one directory for each version, named by its number"
        ),
    )
    model_name: str = field(default="default", metadata=_about("model", str, "name that clients ask for"))
    model_config_file: Path | None = field(
        default=None,
        metadata=_about(
            "model",
            flag_values.path,
            "file in protobuf's text format, a ModelServerConfig: one or many models with version policies and "
            "labels; --model_base_path and --model_name are then ignored",
        ),
    )
    model_config_file_poll_wait_seconds: int = field(
        default=0,
        metadata=_about(
            "model", flag_values.whole_number, "seconds between two looks at that file; 0 looks only at start"
        ),
    )
    allow_version_labels_for_unavailable_models: bool = field(
        default=False,
        metadata=_about(
            "model", flag_values.boolean, "accept new labels for versions that are not loaded yet, as they are at start"
        ),
    )
    file_system_poll_wait_seconds: int = field(
        default=1,
        metadata=_about(
            "model", flag_values.whole_number, "seconds between two looks for new versions; 0 looks only at start"
        ),
    )
    enable_model_warmup: bool = field(
        default=True,
        metadata=_about(
            "model",
            flag_values.boolean,
            "replay a version's assets.extra/tf_serving_warmup_requests before it serves; it fails if one of them does",
        ),
    )
    num_request_iterations_for_warmup: int = field(
        default=0,
        metadata=_about("model", flag_values.whole_number, "times that each warm-up request is replayed; 0 for once"),
    )
    max_num_load_retries: int = field(
        default=5,
        metadata=_about("model", flag_values.whole_number, "further attempts at a version that fails to load"),
    )
    load_retry_interval_micros: int = field(
        default=60_000_000,
        metadata=_about("model", flag_values.whole_number, "microseconds between two attempts to load a version"),
    )
    host: str = field(
        default="127.0.0.1", metadata=_about("listening", str, "address to listen on; 0.0.0.0 for every IPv4 address")
    )
    port: int = field(
        default=8500, metadata=_about("listening", flag_values.port, "gRPC port; 0 for any, which the log then names")
    )
    grpc_socket_path: str = field(
        default="", metadata=_about("listening", str, "Unix socket to listen on as well, in plain text")
    )
    transport: str = field(
        default="auto",
        metadata=_about(
            "listening",
            flag_values.transport,
            "what carries gRPC: grpc.aio, grpcio's own server, or envoy, the server inside Envoy, where a call costs a "
            "fraction; auto is envoy where it can run and there are no --grpc_channel_arguments, which are grpcio's",
        ),
    )
    ssl_config_file: Path | None = field(
        default=None,
        metadata=_about(
            "listening",
            flag_values.path,
            "file in protobuf's text format, an SSLConfig: server_key, server_cert, custom_ca (PEM texts), "
            "client_verify; the port then speaks TLS alone",
        ),
    )
    grpc_channel_arguments: tuple[tuple[str, int | str], ...] = field(
        default=(),
        metadata=_about(
            "listening",
            flag_values.channel_arguments,
            "gRPC's own settings: name=value, separated by commas; see grpc_types.h",
        ),
    )
    enable_grpc_healthcheck_service: bool = field(
        default=False,
        metadata=_about(
            "listening",
            flag_values.boolean,
            "answer grpc.health.v1: the services '' and PredictionService are SERVING while every model answers",
        ),
    )
    rest_api_port: int | None = field(
        default=None,
        metadata=_about("REST", flag_values.rest_port, "HTTP port; 0 for none, auto for any, which the log then names"),
    )
    rest_api_num_threads: int = field(
        default=0,
        metadata=_about(
            "REST", flag_values.whole_number, "threads that read and write large bodies; 0 for four per core"
        ),
    )
    rest_api_timeout_in_ms: int = field(
        default=30_000, metadata=_about("REST", int, "milliseconds that an answer may take; 0 or less for any")
    )
    rest_api_enable_cors_support: bool = field(
        default=False, metadata=_about("REST", flag_values.boolean, "let web pages from anywhere call it")
    )
    monitoring_config_file: Path | None = field(
        default=None,
        metadata=_about(
            "REST",
            flag_values.path,
            "file in protobuf's text format, a MonitoringConfig: prometheus_config { enable: true path: '…' } puts "
            "metrics on the HTTP port, at /monitoring/prometheus/metrics unless it names a path",
        ),
    )
    enable_serialization_as_tensor_content: bool = field(
        default=False,
        metadata=_about(
            "answers",
            flag_values.boolean,
            "answer in tensor_content, which is quicker to write and read than float_val and its like",
        ),
    )
    grpc_max_threads: int = field(
        default=0,
        metadata=_about("execution", flag_values.whole_number, "calls that run at the same time; 0 for one per core"),
    )
    tensorflow_intra_op_parallelism: int = field(
        default=0,
        metadata=_about("execution", int, "threads that share one operation's work; 0 lets TensorFlow choose"),
    )
    tensorflow_inter_op_parallelism: int = field(
        default=-1,
        metadata=_about(
            "execution",
            int,
            "threads that run one call's operations side by side; 0 lets TensorFlow choose, -1 keeps each call on one "
            "thread, which serves small models fastest",
        ),
    )
    tensorflow_session_parallelism: int = field(
        default=0, metadata=_about("execution", int, "sets both of the above, if it is positive; then set neither")
    )
    enable_batching: bool = field(
        default=False,
        metadata=_about(
            "batching",
            flag_values.boolean,
            "run requests that come together together; every input and output then has rows",
        ),
    )
    batching_parameters_file: Path | None = field(
        default=None,
        metadata=_about(
            "batching",
            flag_values.path,
            "file in protobuf's text format, BatchingParameters: max_batch_size, batch_timeout_micros, "
            "max_enqueued_batches, num_batch_threads, thread_pool_name, allowed_batch_sizes, "
            "pad_variable_length_inputs, enable_large_batch_splitting, max_execution_batch_size",
        ),
    )
    enable_per_model_batching_parameters: bool = field(
        default=False,
        metadata=_about(
            "batching",
            flag_values.boolean,
            "take the parameters from each version's own batching_params.pbtxt, and batch no others; threads are still "
            "those of --batching_parameters_file",
        ),
    )
    version: bool = field(default=False, metadata=_about("other", flag_values.boolean, "print the versions and end"))

    @property
    def intra_op_threads(self) -> int:
        """ConfigProto's intra_op_parallelism_threads."""
        return max(self.tensorflow_session_parallelism, 0) or self.tensorflow_intra_op_parallelism

    @property
    def inter_op_threads(self) -> int:
        """ConfigProto's inter_op_parallelism_threads."""
        return max(self.tensorflow_session_parallelism, 0) or self.tensorflow_inter_op_parallelism

    @property
    def addresses(self) -> list[str]:
        """Where to listen, as `host:port` and `unix:path`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return [f"{host}:{self.port}", *([f"unix:{self.grpc_socket_path}"] if self.grpc_socket_path else [])]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line says what is wrong; the usage would bury it."""
        self.exit(2, f"{self.prog}: {message} (--help lists the flags)\n")


def parse(arguments: Sequence[str] | None = None) -> Flags:
    """The flags in `arguments` (the process's own if None).

    A flag that has no effect is named on stderr. SystemExit 0 after --help or --version, and 2 after one line on stderr
    if the flags are wrong.
    """
    parser = _Parser(
        prog="python -m serving.embedded",
        description="Serves SavedModels over TensorFlow Serving's gRPC protocol and REST API.",
        allow_abbrev=False,
    )
    for name, flags in groupby(fields(Flags), key=lambda flag: flag.metadata["group"]):
        group = parser.add_argument_group(name)
        for flag in flags:
            default = "none" if flag.default in (None, "", ()) else str(flag.default).lower()
            text = f"{flag.metadata['help']} (default {default})"
            _add(group, flag.name, flag.metadata["parse"], flag.default, text)
    group = parser.add_argument_group("accepted for TensorFlow Serving's sake")
    for name, (unset, reason) in FLAGS_WITHOUT_EFFECT.items():
        _add(
            group, name, flag_values.boolean if isinstance(unset, bool) else type(unset), unset, f"no effect: {reason}"
        )
    values = vars(parser.parse_args(arguments))
    for name, (unset, reason) in FLAGS_WITHOUT_EFFECT.items():
        if values.pop(name) != unset:
            sys.stderr.write(f"{parser.prog}: --{name} has no effect: {reason}\n")
    parsed = Flags(**values)
    if parsed.version:
        sys.stdout.write(
            f"TensorFlow ModelServer: tensorgate's embedded server\n"
            f"TensorFlow Library: {metadata.version('tensorflow')}\n"
        )
        parser.exit()
    _check(parsed, parser.error)
    if parsed.transport == "auto":
        return replace(parsed, transport="grpc.aio" if parsed.grpc_channel_arguments else default_transport())
    return parsed


def _check(flags: Flags, error: Callable[[str], NoReturn]) -> None:
    if not flags.model_base_path and not flags.model_config_file:
        error("one of --model_base_path and --model_config_file is required")
    if flags.monitoring_config_file and flags.rest_api_port is None:
        error("--monitoring_config_file needs --rest_api_port: metrics are served there")
    if flags.batching_parameters_file and not flags.enable_batching:
        error("--batching_parameters_file is set without --enable_batching")
    if flags.tensorflow_session_parallelism > 0 and (
        flags.tensorflow_intra_op_parallelism > 0 or flags.tensorflow_inter_op_parallelism > 0
    ):
        error(
            "configure either --tensorflow_session_parallelism, or --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism separately"
        )
    if flags.transport == "envoy" and flags.grpc_channel_arguments:
        error("--grpc_channel_arguments are for --transport=grpc.aio")


def _add(group: argparse._ArgumentGroup, name: str, parse_value: Callable[[str], Any], default: Any, text: str) -> None:
    switch: dict[str, Any] = {"nargs": "?", "const": True} if parse_value is flag_values.boolean else {}
    group.add_argument(f"--{name}", type=parse_value, metavar="VALUE", default=default, help=text, **switch)
