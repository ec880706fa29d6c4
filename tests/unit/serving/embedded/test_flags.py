"""serving.embedded.flags: TensorFlow Serving's command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.embedded import flags
from serving.embedded.flags import Flags, parse
from serving.embedded.flags_without_effect import FLAGS_WITHOUT_EFFECT
from serving.transport.default import default_transport

BASE = "--model_base_path=/models/digits"


def test_defaults() -> None:
    """Only a base path or a configuration file is required; the rest is as in TFS, but on loopback."""
    assert parse([BASE]) == Flags(
        model_base_path=Path("/models/digits"),
        model_name="default",
        model_config_file=None,
        model_config_file_poll_wait_seconds=0,
        allow_version_labels_for_unavailable_models=False,
        file_system_poll_wait_seconds=1,
        enable_model_warmup=True,
        max_num_load_retries=5,
        load_retry_interval_micros=60_000_000,
        host="127.0.0.1",
        port=8500,
        grpc_socket_path="",
        transport=default_transport(),
        ssl_config_file=None,
        grpc_channel_arguments=(),
        enable_grpc_healthcheck_service=False,
        rest_api_port=None,
        rest_api_num_threads=0,
        rest_api_timeout_in_ms=30_000,
        rest_api_enable_cors_support=False,
        monitoring_config_file=None,
        enable_serialization_as_tensor_content=False,
        grpc_max_threads=0,
        tensorflow_intra_op_parallelism=0,
        tensorflow_inter_op_parallelism=-1,
        tensorflow_session_parallelism=0,
        num_request_iterations_for_warmup=0,
        enable_batching=False,
        batching_parameters_file=None,
        enable_per_model_batching_parameters=False,
        version=False,
    )


def test_session_parallelism() -> None:
    """One flag sets both kinds of threads."""
    parsed = parse([BASE, "--tensorflow_session_parallelism=3"])
    assert (parsed.intra_op_threads, parsed.inter_op_threads) == (3, 3)
    assert (parse([BASE]).intra_op_threads, parse([BASE]).inter_op_threads) == (0, -1)


def test_config_file_instead() -> None:
    """With a configuration file no base path is needed."""
    assert parse(["--model_config_file", "/models/models.config"]).model_config_file == Path("/models/models.config")


def test_channel_arguments() -> None:
    """Settings of gRPC are numbers where they look like numbers."""
    parsed = parse([BASE, "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.x=a=b,grpc.y=-1"])
    assert parsed.grpc_channel_arguments == (
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.x", "a=b"),
        ("grpc.y", -1),
    )


def test_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is Envoy where that can run, unless told otherwise, or something that is grpcio's."""
    monkeypatch.setattr(flags, "default_transport", lambda: "envoy")
    assert parse([BASE]).transport == "envoy"
    assert parse([BASE, "--transport=grpc.aio"]).transport == "grpc.aio"
    assert parse([BASE, "--grpc_channel_arguments=grpc.x=1"]).transport == "grpc.aio"
    with pytest.raises(SystemExit):
        parse([BASE, "--grpc_channel_arguments=grpc.x=1", "--transport=envoy"])


def test_spellings() -> None:
    """`--flag=value` and `--flag value` are the same."""
    assert parse([BASE, "--port=9000", "--model_name=m"]) == parse(
        [*BASE.split("="), "--port", "9000", "--model_name", "m"]
    )


@pytest.mark.parametrize(
    ("spelling", "value"),
    [([], True), (["=true"], True), (["=1"], True), (["=false"], False), (["=False"], False), (["", "false"], False)],
)
def test_booleans(spelling: list[str], value: bool) -> None:
    """A boolean is on by its name alone, or by its value."""
    flag = "--enable_serialization_as_tensor_content"
    head, *rest = spelling or [""]
    assert parse([flag + head, *rest, BASE]).enable_serialization_as_tensor_content is value


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "one of --model_base_path and --model_config_file is required"),
        (["--model_base_path="], "--model_base_path"),
        ([BASE, "--prot=1"], "--prot=1"),
        ([BASE, "--mod=x"], "--mod=x"),
        ([BASE, "stray"], "stray"),
        ([BASE, "--port=x"], "--port: expected a whole number, not 'x'"),
        ([BASE, "--port=65536"], "--port: expected a port"),
        ([BASE, "--rest_api_port=any"], "--rest_api_port: expected a whole number, not 'any'"),
        ([BASE, "--monitoring_config_file=x"], "--monitoring_config_file needs --rest_api_port"),
        ([BASE, "--num_load_threads=x"], "--num_load_threads: invalid int value"),
        ([BASE, "--grpc_channel_arguments=grpc.x"], "expected name=value,name=value, not 'grpc.x'"),
        ([BASE, "--file_system_poll_wait_seconds=-1"], "expected a whole number"),
        ([BASE, "--tensorflow_session_parallelism=2", "--tensorflow_intra_op_parallelism=1"], "configure either"),
        ([BASE, "--enable_serialization_as_tensor_content=maybe"], "expected true or false, not 'maybe'"),
    ],
)
def test_errors(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong flag is one line on stderr that says which, and exit status 2."""
    with pytest.raises(SystemExit, check=lambda ended: ended.code == 2):
        parse(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


@pytest.mark.parametrize(("spelling", "port"), [("0", None), ("8501", 8501), ("auto", 0)])
def test_rest_port(spelling: str, port: int | None) -> None:
    """There is no REST at port 0, as in TFS; any port is taken only if told so."""
    assert parse([BASE, "--rest_api_port", spelling]).rest_api_port == port


@pytest.mark.parametrize("flag", FLAGS_WITHOUT_EFFECT)
def test_flags_without_effect(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What TFS takes is taken; where it changes nothing, that is said, and why."""
    unset, reason = FLAGS_WITHOUT_EFFECT[flag]
    assert parse([BASE, f"--{flag}={unset}"]) == parse([BASE])
    assert not capsys.readouterr().err
    other = not unset if isinstance(unset, bool) else f"{unset}1"
    assert parse([BASE, f"--{flag}", str(other)]) == parse([BASE])
    assert capsys.readouterr().err == f"python -m serving.embedded: --{flag} has no effect: {reason}\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints and ends, whatever else is missing."""
    with pytest.raises(SystemExit, check=lambda ended: not ended.code):
        parse(["--version"])
    assert "TensorFlow Library: 2." in capsys.readouterr().out


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help explains every flag, with its default, in groups."""
    with pytest.raises(SystemExit, check=lambda ended: ended.code == 0):
        parse(["--help"])
    text = capsys.readouterr().out
    groups = ("model:", "listening:", "REST:", "answers:", "execution:")
    for part in (*groups, *(f"--{name}" for name in (*Flags.__annotations__, *FLAGS_WITHOUT_EFFECT))):
        assert part in text
    assert "(default 8500)" in text


def test_flags_come_before_imports() -> None:
    """Neither a wrong flag nor --help waits for TensorFlow, numpy or gRPC."""
    code = "import sys, serving.embedded.__main__; print({'tensorflow', 'numpy', 'grpc'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
