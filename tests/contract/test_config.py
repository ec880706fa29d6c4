"""The embedded server under a configuration of several models, told with TensorFlow Serving's own client."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from stack.processes import Child
from tests.contract import models
from tests.contract.client import TIMEOUT, Client, eventually, failure, model_spec, predict_request

Start = Callable[..., tuple[Child, str]]
X = {"x": np.array([[4]], np.float32)}


def server_config(*listed: ModelConfig) -> ModelServerConfig:
    """A configuration of models."""
    return ModelServerConfig(model_config_list={"config": listed})


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base paths of the models a (versions 1, 2, 3) and b (version 1; version 2 is cut short)."""
    bases = tmp_path_factory.mktemp("bases")
    for name, version in (("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)):
        models.write_half_plus_two(bases / name / str(version))
    torn = bases / "b/2/saved_model.pb"
    torn.write_bytes(torn.read_bytes()[:1000])
    return bases


@pytest.fixture
def model(bases: Path) -> Callable[..., ModelConfig]:
    """Makes the configuration of a model; `policy` is in the text format."""

    def make(name: str, policy: str = "all {}", **labels: int) -> ModelConfig:
        config = ModelConfig(name=name, base_path=str(bases / name), model_platform="tensorflow", version_labels=labels)
        return text_format.Merge(f"model_version_policy {{ {policy} }}", config)

    return make


@pytest.fixture(scope="module")
def server(start: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Child, str, Path]:
    """A server that begins without models, its address and its configuration file."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text("model_config_list {}")
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds", "1", "--max_num_load_retries=0"]
    return *start(None, *flags), file


@pytest.fixture
def client(server: tuple[Child, str, Path]) -> Iterator[Client]:
    """A client of it."""
    with Client(server[1]) as client:
        yield client


def reload(client: Client, *listed: ModelConfig) -> ReloadConfigResponse:
    """The answer to a reload."""
    request = ReloadConfigRequest(config=server_config(*listed))
    return client.models.HandleReloadConfigRequest(request, timeout=TIMEOUT)


def reload_failure(client: Client, *listed: ModelConfig) -> tuple[str, str]:
    """The code and text that a reload fails with."""
    return failure(client.models.HandleReloadConfigRequest, ReloadConfigRequest(config=server_config(*listed)))


def version(client: Client, name: str, **spec: Any) -> int:
    """The version that answers."""
    return client.predict(X, name=name, **spec).model_spec.version.value


def available(client: Client, name: str) -> list[int]:
    """The versions of a model that are AVAILABLE."""
    request = GetModelStatusRequest(model_spec=model_spec(name=name))
    response = client.models.GetModelStatus(request, timeout=TIMEOUT)
    return [entry.version for entry in response.model_version_status if entry.state == entry.AVAILABLE]


def test_reload_is_total(client: Client, model: Callable[..., ModelConfig]) -> None:
    """A reload loads what it names before it answers OK, in the body too; what it leaves out is unloaded."""
    response = reload(client, model("a", "latest {}"), model("b", "specific { versions: 1 }"))
    assert response == ReloadConfigResponse(status={})
    assert (version(client, "a"), version(client, "b")) == (3, 1)
    reload(client, model("b", "specific { versions: 1 }"))
    missing = ("NOT_FOUND", "Servable not found for request: Latest(a)")
    assert failure(client.predictions.Predict, predict_request(X, name="a")) == missing
    assert version(client, "b") == 1


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest {}", [3]),
        ("latest { num_versions: 2 }", [2, 3]),
        ("all {}", [1, 2, 3]),
        ("specific { versions: 1 versions: 3 }", [1, 3]),
    ],
)
def test_policies(client: Client, model: Callable[..., ModelConfig], policy: str, expected: list[int]) -> None:
    """A version policy says which versions are served at the same time."""
    reload(client)
    reload(client, model("a", policy))
    assert available(client, "a") == expected
    assert [version(client, "a", version=number) for number in expected] == expected


def test_labels(client: Client, model: Callable[..., ModelConfig]) -> None:
    """A label names an available version, by request and by metadata; it can be moved, and no other exists."""
    reload(client, model("a"))
    for number in (1, 2):
        reload(client, model("a", stable=number))
        assert version(client, "a", version_label="stable") == number
    request = predict_request(X, name="a", version_label="canary")
    unknown = ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")
    assert failure(client.predictions.Predict, request) == unknown


def test_label_of_an_unavailable_version(client: Client, model: Callable[..., ModelConfig]) -> None:
    """A label of a version that is not available is refused, and nothing changes."""
    reload(client, model("a", stable=1))
    assert reload_failure(client, model("a", stable=9)) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model a, which is not currently available for inference",
    )
    assert version(client, "a", version_label="stable") == 1


def test_refusals(client: Client, model: Callable[..., ModelConfig]) -> None:
    """A configuration that cannot be meant is refused, and nothing changes."""
    reload(client, model("a"))
    assert reload_failure(client, model("b"), model("b")) == (
        "INVALID_ARGUMENT",
        "Illegal to list model b multiple times in config list",
    )
    assert failure(client.models.HandleReloadConfigRequest, ReloadConfigRequest()) == (
        "INVALID_ARGUMENT",
        (
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        ),
    )
    assert version(client, "a") == 3


def test_trouble_with_one_model(client: Client, model: Callable[..., ModelConfig]) -> None:
    """A base path that is missing or a SavedModel cut short is named, and keeps nothing else from being served."""
    reload(client)
    code, text = reload_failure(client, model("gone"), model("b"), model("a", "latest {}"))
    assert code == "UNKNOWN"
    assert text.startswith("2 servable(s) did not become available: {{name: gone due to error: no version found}, ")
    assert "{name: b version: 2 due to error: " in text
    assert (version(client, "a"), version(client, "b")) == (3, 1)


def test_config_file(client: Client, server: tuple[Child, str, Path], model: Callable[..., ModelConfig]) -> None:
    """What the file says anew is served; a typo in it is logged and changes nothing."""
    process, _, file = server
    file.write_text(text_format.MessageToString(server_config(model("a", "specific { versions: 2 }"))))
    eventually(lambda: available(client, "a") == [2])
    file.write_text('model_config_list { config { nam: "a" } }')
    line = process.wait_for("the configuration stays as it was", TIMEOUT)
    assert f'{file}:1:30 : Message type "tensorflow.serving.ModelConfig" has no field named "nam".' in line
    assert version(client, "a") == 2


def refused_start(file: Path, *flags: str) -> str:
    """The last line that a server says which does not start with a configuration file."""
    command = [sys.executable, "-m", "serving.embedded", "--port=0", f"--model_config_file={file}", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


def test_typo_at_start(tmp_path: Path) -> None:
    """A server whose configuration file has a typo says so in one line and ends with status 1."""
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { nam: "a" } }')
    assert refused_start(file).endswith(
        f'{file}:1:30 : Message type "tensorflow.serving.ModelConfig" has no field named "nam".'
    )


def test_labels_at_start(start: Start, tmp_path: Path, model: Callable[..., ModelConfig]) -> None:
    """A label at start needs the flag that allows it, as no version is available yet."""
    file = tmp_path / "models.config"
    file.write_text(text_format.MessageToString(server_config(model("a", "latest {}", stable=3))))
    assert "Request to assign label to version 3 of model a" in refused_start(file)
    _, address = start(None, f"--model_config_file={file}", "--allow_version_labels_for_unavailable_models")
    with Client(address) as client:
        assert version(client, "a", version_label="stable") == 3
