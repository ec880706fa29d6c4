"""serving.embedded.flags: TensorFlow Serving's command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.embedded.flags import Flags, parse

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
        ssl_config_file=None,
        grpc_channel_arguments=(),
        enable_grpc_healthcheck_service=False,
        enable_serialization_as_tensor_content=False,
        grpc_max_threads=0,
        tensorflow_intra_op_parallelism=0,
        tensorflow_inter_op_parallelism=-1,
    )


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
        ([BASE, "--grpc_channel_arguments=grpc.x"], "expected name=value,name=value, not 'grpc.x'"),
        ([BASE, "--file_system_poll_wait_seconds=-1"], "expected a whole number"),
        ([BASE, "--enable_serialization_as_tensor_content=maybe"], "expected true or false, not 'maybe'"),
    ],
)
def test_errors(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong flag is one line on stderr that says which, and exit status 2."""
    with pytest.raises(SystemExit, check=lambda ended: ended.code == 2):
        parse(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help explains every flag, with its default, in groups."""
    with pytest.raises(SystemExit, check=lambda ended: ended.code == 0):
        parse(["--help"])
    text = capsys.readouterr().out
    for part in ("model:", "listening:", "answers:", "execution:", *(f"--{name}" for name in Flags.__annotations__)):
        assert part in text
    assert "(default 8500)" in text


def test_flags_come_before_imports() -> None:
    """Neither a wrong flag nor --help waits for TensorFlow, numpy or gRPC."""
    code = "import sys, serving.embedded.__main__; print({'tensorflow', 'numpy', 'grpc'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
