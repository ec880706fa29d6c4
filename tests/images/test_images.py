"""The gateway's and the embedded server's images, built and run."""

import json
import re
from pathlib import Path

import pytest

from tests.contract import models
from tests.images.conftest import ROOT, Engine

# Runs in a container: starts its entry point with the given flags, waits for a line of its log, asks an address in that
# line, stops the process, and writes the answer and the exit status.
PROBE = """
import json, re, signal, subprocess, sys, urllib.request
entrypoint, marker, path, body = json.loads(sys.argv[1]), *sys.argv[2:5]
process = subprocess.Popen(entrypoint + sys.argv[5:], stderr=subprocess.PIPE, text=True)
log = ""
while not (found := re.search(marker, log)):
    line = process.stderr.readline()
    if not line:
        sys.exit(log)
    log += line
url = f"http://127.0.0.1:{found[1]}{path}"
answer = urllib.request.urlopen(url, body.encode() or None, timeout=30).read().decode()
process.send_signal(signal.SIGTERM)
process.stderr.read()
print(json.dumps({"answer": answer, "status": process.wait(60)}))
"""


def entry_point(dockerfile: Path) -> str:
    """The entry point as the Dockerfile gives it."""
    (found,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(), re.MULTILINE)
    return found


def probe(engine: Engine, tag: str, dockerfile: Path, *arguments: str) -> dict[str, str | int]:
    """What a container answers."""
    output = engine.run(tag, ["python", "-c", PROBE, entry_point(dockerfile), *arguments])
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def gateway(engine: Engine) -> str:
    """The gateway's image."""
    engine.build("tensorgate/gateway", ROOT / "gateway/Dockerfile")
    return "tensorgate/gateway"


@pytest.fixture(scope="module")
def embedded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded server's image, with a model put in."""
    engine.build("tensorgate/embedded", ROOT / "serving/embedded/Dockerfile")
    context = tmp_path_factory.mktemp("context")
    models.write_half_plus_two(context / "half_plus_two/1")
    (context / "Dockerfile").write_text("ARG PYTHON\nFROM tensorgate/embedded\nCOPY . /models/\n")
    engine.build("tensorgate/half_plus_two", context / "Dockerfile", context)
    return "tensorgate/half_plus_two"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("transport", ["grpc.aio", "envoy"])
def test_transports(engine: Engine, gateway: str, transport: str) -> None:
    """The gateway is alive at once on each transport, by default on Envoy, and ends when it is told to."""
    code = "from serving.transport.default import default_transport; print(default_transport())"
    if transport == "envoy" and engine.run(gateway, ["python", "-c", code]).splitlines()[-1] != "envoy":
        pytest.skip("the image's Python has no shared library, as Debian's own has not")
    serving = rf'"transport": "{transport}".*"http": "0.0.0.0:(\d+)".*"event": "serving"'
    flags = ["--models=m", "--no-auth.enabled", "--listen=127.0.0.1:0", "--http=0.0.0.0:0", "--drain.delay=0"]
    flags.append("--tls.plaintext-anywhere")
    if transport != "envoy":
        flags.append(f"--transport={transport}")
    answer = probe(engine, gateway, ROOT / "gateway/Dockerfile", serving, "/livez", "", *flags)
    assert answer == {"answer": "ok\n", "status": 0}


@pytest.mark.timeout(1200)
def test_gateway(engine: Engine, gateway: str) -> None:
    """The gateway makes keys, and has neither TensorFlow nor rights."""
    keys = ["python", "-m", "gateway", "keys", "--file", "/state/keys.json", "create", "--client", "me"]
    assert engine.run(gateway, keys).startswith("tg_")
    code = "import os, importlib.util as u; print(os.getuid(), os.access('/app', os.W_OK), u.find_spec('tensorflow'))"
    assert engine.run(gateway, ["python", "-c", code]).splitlines()[-1] == "65532 False None"


@pytest.mark.timeout(1800)
def test_embedded_server(engine: Engine, embedded: str) -> None:
    """The embedded server answers for a model at /models, without rights, and ends when it is told to."""
    # The image is told of the model as TensorFlow Serving's is.
    flags = ["--port=0", "--rest_api_port=auto", "--model_base_path=/models/half_plus_two"]
    path, body = "/v1/models/model:predict", '{"instances": [[1.0], [2.0], [5.0]]}'
    dockerfile = ROOT / "serving/embedded/Dockerfile"
    answer = probe(engine, embedded, dockerfile, r"serving REST on .*:(\d+)", path, body, *flags)
    assert json.loads(str(answer["answer"])) == {"predictions": [[2.5], [3.0], [4.5]]}
    assert answer["status"] == 0
