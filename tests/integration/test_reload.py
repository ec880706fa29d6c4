"""Settings that change while the gateway runs."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tensorgate import TensorgateError
from tests.fakes import digits
from tests.fakes.issuer import AUDIENCE, Issuer
from tests.fakes.model_server import FakeModel, FakeModelServer
from tests.integration.conftest import TIMEOUT, Gateway, StartGateway, eventually

PNG = digits.encode(digits.band(3))


async def code(gateway: Gateway, model: str = "digits", key: str | None = None) -> str:
    """How a prediction ends."""
    async with gateway.client(**({"key": key} if key else {})) as client:
        try:
            await client.predict(PNG, model=model)
        except TensorgateError as error:
            return error.code
        return "OK"


async def test_reload(
    start_gateway: StartGateway, server: FakeModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models, limits and issuers change with the file or at SIGHUP; a mistake changes nothing and its line is told."""
    server.models["letters"] = FakeModel(contract=server.models["digits"].contract)
    file = tmp_path / "gateway.yaml"
    file.write_text("models: digits\n")
    monkeypatch.setenv("TENSORGATE_CONFIG", str(file))
    gateway = start_gateway(server.address, models=None)
    assert [await code(gateway, model) for model in ("digits", "letters")] == ["OK", "NOT_FOUND"]

    async def ends(model: str, expected: str, key: str | None = None) -> bool:
        return await code(gateway, model, key) == expected

    file.write_text("models: digits, letters\n")
    await eventually(lambda: ends("letters", "OK"))
    # The same size and nearly the same time: SIGHUP looks without asking whether the file has changed.
    file.write_text("models: letters\nbackend: {timeout: 3}\n")
    os.kill(gateway.process.pid, signal.SIGHUP)
    await eventually(lambda: ends("digits", "NOT_FOUND"))
    assert await code(gateway, "letters") == "OK"
    assert 'tensorgate_backend_up{model="digits"}' not in gateway.get("/metrics")[1]
    assert ["backend.timeout"] in [
        line["need_restart"] for line in gateway.log() if line["event"] == "settings reloaded"
    ]

    file.write_text("models: digits\n\nlimits: {client: {burst: none}}\n")
    await eventually(lambda: _logged(gateway, f"{file}:3: setting `limits.client.burst`"))
    assert await code(gateway, "letters") == "OK"

    file.write_text("models: letters\nlimits: {models: {letters: {calls_per_second: 0.001}}}\n")
    await eventually(lambda: ends("letters", "RESOURCE_EXHAUSTED"))

    with Issuer() as issuer:
        taken = {"issuer": issuer.url, "audiences": [AUDIENCE], "insecure_http": True}
        file.write_text(yaml.safe_dump({"models": "letters", "auth": {"issuers": [taken]}}))
        await eventually(lambda: ends("letters", "OK", issuer.token(scope="predict:*")))


async def _logged(gateway: Gateway, text: str) -> bool:
    return text in gateway.process.log.read_text()


async def test_check_config(tmp_path: Path) -> None:
    """The command ends with 0 if all is well, else with 1 and the line of the mistake; it starts nothing."""
    file = tmp_path / "gateway.yaml"
    environment = os.environ | {"TENSORGATE_CONFIG": str(file)}

    async def check() -> tuple[int, str]:
        command = [sys.executable, "-m", "gateway", "check-config"]
        ended = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
        )
        return ended.returncode, ended.stdout + ended.stderr

    file.write_text("models: digits\nauth: {enabled: false}\n")
    assert await check() == (0, "the settings are good\n")
    file.write_text("models: digits\nthreads: 0\n")
    status, text = await check()
    assert (status, f"{file}:2: setting `threads`" in text) == (1, True)
    file.write_text("models: digits\nauth: {keys_file: nothing.json}\n")
    status, text = await check()
    assert (status, "nothing.json" in text) == (1, True)
