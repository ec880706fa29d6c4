"""serving.embedded.servicers and config_file: the configuration of a running server is changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.wire import tensorflow_serving_pb2 as tfs
from tests.unit.serving.embedded.fakes import TIMEOUT, eventually, publish
from tests.unit.serving.embedded.running import fails, reload_request


async def test_reload(start: Callable[..., Any], base: Path, tmp_path: Path) -> None:
    """A reload replaces the configuration as a whole; the status in the answer is OK."""
    publish(tmp_path / "n", "5")
    async with start() as server:
        response = await server.models.HandleReloadConfigRequest(reload_request(n=tmp_path / "n"), timeout=TIMEOUT)
        assert response.HasField("status")
        assert response.status.error_code == 0
        assert (await server.predict(name="n")).model_spec.version.value == 5
        assert await fails(server.predict()) == ("NOT_FOUND", "Servable not found for request: Latest(m)")
        await server.models.HandleReloadConfigRequest(reload_request(m=base), timeout=TIMEOUT)
        await server.predict()


async def test_labels(start: Callable[..., Any], base: Path) -> None:
    """A label that a reload gives to a version is as good as its number; the answer has the number."""
    async with start() as server:
        request = reload_request(m=base)
        request.config.model_config_list.config[0].version_labels["stable"] = 1
        await server.models.HandleReloadConfigRequest(request, timeout=TIMEOUT)
        assert (await server.predict(version_label="stable")).model_spec.version.value == 1
        unknown = ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")
        assert await fails(server.predict(version_label="canary")) == unknown


async def test_refused_reload(start: Callable[..., Any], base: Path) -> None:
    """A configuration that is refused changes nothing."""
    async with start() as server:
        request = reload_request(m=base)
        request.config.model_config_list.config[0].version_labels["stable"] = 9
        for refused, code in (
            (tfs.ReloadConfigRequest(), "INVALID_ARGUMENT"),
            (request, "FAILED_PRECONDITION"),
            (reload_request(n=Path("relative")), "INVALID_ARGUMENT"),
        ):
            call = server.models.HandleReloadConfigRequest(refused, timeout=TIMEOUT)
            assert (await fails(call))[0] == code
        await server.predict()


CONFIG = """model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" {more} }} }}"""


async def test_config_file(
    start: Callable[..., Any], base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What changes in the configuration file is adopted; a typo is an error in the log and changes nothing."""
    file = tmp_path / "models.config"
    file.write_text(CONFIG.format(base=base, more=""))
    async with start(model_base_path=None, model_config_file=file, model_config_file_poll_wait_seconds=1) as server:
        await server.predict()
        file.write_text("typo" + CONFIG.format(base=base, more=""))
        await eventually(lambda: "the configuration stays as it was" in caplog.text)
        await server.predict()
        file.write_text(CONFIG.format(base=base, more='version_labels { key: "stable" value: 1 }'))
        await eventually(lambda: f"adopted {file}" in caplog.messages)
        await server.predict(version_label="stable")
