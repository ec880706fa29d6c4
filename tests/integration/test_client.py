"""The client and its command, against a real gateway process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorgate import Client, TensorgateError
from tests.fakes import digits
from tests.integration.conftest import TIMEOUT, Gateway


def command(gateway: Gateway | None, *arguments: str, stdin: bytes = b"", **environment: str) -> Any:
    """Runs `tensorgate`, its address and key in the environment."""
    if gateway:
        environment = {"TENSORGATE_ADDRESS": gateway.address, "TENSORGATE_KEY": gateway.key} | environment
    return subprocess.run(
        [sys.executable, "-m", "tensorgate.cli", *arguments],
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "COLUMNS": "160"} | environment,
    )


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A PNG of a 3 and a JPEG of a 7."""
    (tmp_path / "three.png").write_bytes(digits.encode(digits.band(3)))
    (tmp_path / "seven.jpg").write_bytes(digits.encode(digits.band(7), "JPEG"))
    return [str(tmp_path / "three.png"), str(tmp_path / "seven.jpg")]


def test_synchronous(shared_gateway: Gateway) -> None:
    """The synchronous client predicts, one and many, and describes models."""
    with Client(shared_gateway.address, key=shared_gateway.key, timeout=TIMEOUT) as client:
        assert client.predict(digits.encode(digits.band(5))).label == "5"
        batch = client.predict_batch([np.zeros((28, 28), np.float32), b""], top_k=10)
        assert len(batch[0].top) == 10
        assert batch[1].error is not None
        assert batch[1].error.code == "INVALID_ARGUMENT"
        assert client.get_model("digits").evaluation == {"accuracy": 0.91}
        assert [model.name for model in client.list_models()] == ["digits"]
        with pytest.raises(TensorgateError, match="NOT_FOUND"):
            client.get_model("digits2")


async def test_asynchronous(shared_gateway: Gateway) -> None:
    """The asynchronous client does the same."""
    async with shared_gateway.client() as client:
        assert (await client.predict(digits.encode(digits.band(5)))).label == "5"
        assert (await client.get_model("digits")).default_version == 1
        assert [model.name for model in await client.list_models()] == ["digits"]
        with pytest.raises(TensorgateError, match="NOT_FOUND"):
            await client.get_model("digits2")


def test_table(shared_gateway: Gateway, files: list[str]) -> None:
    """`tensorgate predict` prints a row for each file with answer, confidence and latency."""
    ended = command(shared_gateway, "predict", *files)
    text = ended.stdout.decode()
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "digits, version 1" in text
    for file, label in zip(files, "37", strict=True):
        row = next(line for line in text.splitlines() if Path(file).name in line)
        assert f" {label} " in row
        assert "91.0%" in row


def test_json(shared_gateway: Gateway, files: list[str]) -> None:
    """`--json` prints one document for machines; `-` reads standard input."""
    ended = command(shared_gateway, "predict", "--json", "--top-k=2", *files, "-", stdin=digits.encode(digits.band(1)))
    entries = json.loads(ended.stdout)
    assert [entry["label"] for entry in entries] == ["3", "7", "1"]
    assert len(entries[0]["top"]) == 2
    assert entries[0]["confidence"] == pytest.approx(0.91)
    assert entries[0]["version"] == 1
    assert entries[0]["id"]


def test_a_bad_file_among_good_ones(shared_gateway: Gateway, files: list[str], tmp_path: Path) -> None:
    """A file that fails is reported in its place, the others are answered, and the status is 1."""
    (tmp_path / "[bold]odd.txt").write_text("not an image")
    ended = command(shared_gateway, "predict", files[0], str(tmp_path / "[bold]odd.txt"), str(tmp_path / "none.png"))
    text = ended.stdout.decode()
    assert ended.returncode == 1
    assert "INVALID_ARGUMENT" in text
    assert "No such file" in text
    assert "[bold]odd.txt" in text
    entries = json.loads(command(shared_gateway, "predict", "--json", files[0], "none.png").stdout)
    assert [entry.get("label") for entry in entries] == ["3", None]
    assert entries[1]["error"]


def test_models(shared_gateway: Gateway) -> None:
    """`tensorgate models` lists what the key may call."""
    assert "accuracy 0.91" in command(shared_gateway, "models").stdout.decode()
    entries = json.loads(command(shared_gateway, "models", "--json").stdout)
    assert entries == [{"name": "digits", "default_version": 1, "evaluation": {"accuracy": 0.91}}]


def test_one_line_for_what_is_wrong(shared_gateway: Gateway, files: list[str]) -> None:
    """No key, no gateway, no model or no file: one line on stderr and a status that is not 0."""
    for gateway, arguments, environment, status, expected in (
        (shared_gateway, ["predict", *files], {"TENSORGATE_KEY": ""}, 1, "UNAUTHENTICATED: no credential"),
        (None, ["predict", "--address=127.0.0.1:1", *files], {}, 1, "UNAVAILABLE"),
        (shared_gateway, ["predict", "--model=cats", *files], {}, 1, "NOT_FOUND"),
        (shared_gateway, ["predict", "--ca-file=none.pem", *files], {}, 1, "none.pem"),
        (shared_gateway, ["predict"], {}, 2, "FILE"),
        (shared_gateway, ["fly"], {}, 2, "invalid choice"),
    ):
        ended = command(gateway, *arguments, **environment)
        assert ended.returncode == status
        assert expected in ended.stderr.decode()
        assert "Traceback" not in ended.stderr.decode()
        assert ended.stdout == b""


async def test_feedback_is_off(shared_gateway: Gateway) -> None:
    """A gateway without a database of labels has no FeedbackService."""
    async with shared_gateway.client() as client:
        with pytest.raises(TensorgateError, match="UNIMPLEMENTED"):
            await client.feedback("x", "3")
