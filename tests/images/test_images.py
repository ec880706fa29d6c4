"""The gateway's and the embedded server's images, built and run."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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

# What the gateway's container is made of and may do.
CONTENTS = """
import importlib.util, json, os, pathlib, sys
import gateway.bootstrap
for name in ("gcsfs", "psycopg", "s3fs"):
    importlib.import_module(name)
import botocore.session
for service in ("s3", "sts", "sso", "sso-oidc"):
    botocore.session.get_session().create_client(service, "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
ours = [spec for spec in specs if spec and (spec.origin or "").startswith(("/app/", "/packages/"))]
places = ("/", "/app", "/packages", "/usr", "/etc")
files = [path.lstat().st_size for place in ("/app", "/packages") for path in pathlib.Path(place).rglob("*")]
print(json.dumps({
    "user": os.getuid(),
    "writable": [place for place in places if os.access(place, os.W_OK)],
    "modules": [name for name in ("keras", "tensorflow") if importlib.util.find_spec(name)],
    "to_compile": [spec.name for spec in ours if spec.cached and not os.path.exists(spec.cached)],
    "megabytes": sum(files) / 1e6,
}))
"""

IMAGE_PYTHON = (3, 11)

Around = Callable[[Path, Path], tuple[str, dict[str, Path]]]


def entry_point(dockerfile: Path) -> str:
    """The entry point as the Dockerfile gives it."""
    (found,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(), re.MULTILINE)
    return found


def probe(
    engine: Engine, tag: str, dockerfile: Path, *arguments: str, mounts: Mapping[str, Path] | None = None
) -> dict[str, str | int]:
    """What a container answers."""
    output = engine.run(tag, ["python", "-c", PROBE, entry_point(dockerfile), *arguments], mounts or {})
    return json.loads(output.splitlines()[-1])


def link_packages(lock: Path, target: Path) -> None:
    """Puts what is installed of a lock file into a directory, as `pip install --target` does."""
    pins = [line.removesuffix("\\") for line in lock.read_text().splitlines() if re.match(r"\w", line)]
    for requirement in map(Requirement, pins):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        installed = distribution(requirement.name)
        assert installed.version in requirement.specifier
        for file in installed.files or ():
            if file.parts[0] != "..":
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(Path(str(installed.locate_file(file))), target / file)


def link_or_copy(source: Path, target: Path) -> None:
    """A file once more: the same one where that is possible, as it is on one file system."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        pass  # two packages may have it
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def gateway(engine: Engine, built: list[str]) -> str:
    """The gateway's image."""
    engine.build("tensorgate/gateway:test", ROOT / "gateway/Dockerfile", {})
    built.append("tensorgate/gateway:test")
    return built[-1]


@pytest.fixture(scope="module")
def around(engine: Engine, built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Around:
    """Builds an image for the packages of a lock file, but without them: installing TensorFlow takes minutes, and what
    is installed here is the same if it is for the same Python. Returns the tag, and the packages to mount.
    """
    whole = "TENSORGATE_IMAGES" in os.environ
    if not whole and (sys.platform != "linux" or sys.version_info[:2] != IMAGE_PYTHON):
        pytest.skip("what is installed here is not for the image's Python; `make images` builds it whole")

    def build(dockerfile: Path, lock: Path) -> tuple[str, dict[str, Path]]:
        tag = f"tensorgate/{lock.stem}:test"
        if whole:
            engine.build(tag, dockerfile, {})
            built.append(tag)
            return tag, {}
        empty, packages = (tmp_path_factory.mktemp(name) / "packages" for name in ("empty", lock.stem))
        empty.mkdir()
        engine.build(tag, dockerfile, {"packages": empty.parent})
        built.append(tag)
        link_packages(lock, packages)
        return tag, {"/packages": packages}

    return build


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("transport", ["grpc.aio", "envoy"])
def test_transports(engine: Engine, gateway: str, transport: str) -> None:
    """The gateway is alive at once on each transport, by default on Envoy, and ends when it is told to."""
    code = "from serving.transport.default import default_transport; print(default_transport())"
    if transport == "envoy" and engine.run(gateway, ["python", "-c", code], {}).splitlines()[-1] != "envoy":
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
    """The gateway makes keys where it can write to nothing but them."""
    keys = ["python", "-m", "gateway", "keys", "--file", "/state/keys.json", "create", "--client", "me"]
    assert engine.run(gateway, keys, {}).startswith("tg_")


@pytest.mark.timeout(1200)
def test_gateway_holds_what_it_needs(engine: Engine, gateway: str) -> None:
    """No TensorFlow, no rights, and few megabytes; but what buckets and PostgreSQL need, and as bytecode."""
    found = json.loads(engine.run(gateway, ["python", "-c", CONTENTS], {}).splitlines()[-1])
    assert found["user"] == 65532
    assert found["writable"] == []
    assert found["modules"] == []
    assert found["to_compile"] == []
    assert found["megabytes"] < 320


@pytest.mark.timeout(1800)
def test_embedded_server(engine: Engine, around: Around, tmp_path: Path) -> None:
    """The embedded server answers for a model at /models, without rights, and ends when it is told to."""
    dockerfile = ROOT / "serving/embedded/Dockerfile"
    tag, packages = around(dockerfile, ROOT / "requirements/embedded.txt")
    models.write_half_plus_two(tmp_path / "models/half_plus_two/1")
    # The image is told of the model as TensorFlow Serving's is.
    flags = ["--port=0", "--rest_api_port=auto", "--model_base_path=/models/half_plus_two"]
    path, body = "/v1/models/model:predict", '{"instances": [[1.0], [2.0], [5.0]]}'
    mounts = packages | {"/models": tmp_path / "models"}
    answer = probe(engine, tag, dockerfile, r"serving REST on .*:(\d+)", path, body, *flags, mounts=mounts)
    assert json.loads(str(answer["answer"])) == {"predictions": [[2.5], [3.0], [4.5]]}
    assert answer["status"] == 0


@pytest.mark.timeout(1200)
def test_mlflow(engine: Engine, around: Around) -> None:
    """MLflow's server is healthy where it can write to nothing but its own volume."""
    dockerfile = ROOT / "trainer/mlflow.Dockerfile"
    tag, packages = around(dockerfile, ROOT / "requirements/mlflow.txt")
    marker = r"running on http://0.0.0.0:(\d+)"
    store = ["--backend-store-uri=sqlite:////mlflow/mlflow.db", "--artifacts-destination=/mlflow/artifacts"]
    answer = probe(engine, tag, dockerfile, marker, "/health", "", "--port=0", *store, mounts=packages)
    assert answer["answer"] == "OK"
