"""A client in another language, made from the .proto files: Node, with grpc-js and proto-loader."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes import digits
from tests.integration.conftest import TIMEOUT, Gateway

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, beside its packages as the lock file pins them."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node.js and npm")
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", ".npmrc", "client.js"):
        shutil.copy(ROOT / "tests/node" / name, directory)
    ended = subprocess.run(["npm", "ci"], cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm ci failed, as it does without a network: {ended.stderr[-200:]}")
    assert ended.returncode == 0, ended.stderr
    return directory / "client.js"


def test_node(script: Path, shared_gateway: Gateway, tmp_path: Path) -> None:
    """Predict and StreamPredict answer a client that is made from the .proto files, and a wrong key is refused."""
    (tmp_path / "5.png").write_bytes(digits.encode(digits.band(5)))
    ended = subprocess.run(
        ["node", str(script), str(ROOT / "protos"), shared_gateway.address, str(tmp_path / "5.png")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={"PATH": os.environ["PATH"], "TENSORGATE_KEY": shared_gateway.key},
    )
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    assert answers["predict"]["predictions"][0]["classification"]["label"] == "5"
    assert [answer["tag"] for answer in answers["stream"]] == ["t0", "t1", "t2"]
    assert [answer["outcome"] for answer in answers["stream"]] == ["response", "error", "response"]
    assert answers["stream"][1]["error"]["reason"] == "MODEL_NOT_FOUND"
    assert answers["refused"]["code"] == "UNAUTHENTICATED"
