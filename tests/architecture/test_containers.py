"""What the images, the compose files and the dashboards promise."""

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from gateway.metrics import Metrics as GatewayMetrics
from serving.embedded.config_file import read_models
from serving.embedded.monitoring import Metrics as ServerMetrics
from serving.embedded.monitoring import metrics_path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted([*ROOT.glob("*/**/Dockerfile"), *ROOT.glob("*/*.Dockerfile")])
COMPOSE_FILES = ["compose.yaml", "compose.embedded.yaml"]
# A version of three numbers, maybe of a variant.
PINNED = re.compile(r"[a-z/]+:v?[0-9]+\.[0-9]+\.[0-9]+(-[a-z-]+)?")


def name(path: Path) -> str:
    """A file, as seen from the root."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=name)
def test_dockerfiles(dockerfile: Path) -> None:
    """An image is built on a pinned one that can be replaced, is checked for health, and runs as nobody."""
    text = dockerfile.read_text()
    ((argument, default),) = re.findall(r"^ARG ([A-Z_]+)=(\S+)$", text, re.MULTILINE)
    assert PINNED.fullmatch(default)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {f"${{{argument}}}"}
    assert re.search(r"^HEALTHCHECK (--\S+ )+\\\n +CMD \[", text, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65532:65532"]
    for kind, command in re.findall(r"^ *(CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE):
        # Not through a shell of the image's, which would keep signals to itself.
        assert json.loads(command), kind
    for lock in re.findall(r"COPY requirements/(\S+)", text):
        assert (ROOT / "requirements" / lock).is_file()
        assert "--require-hashes" in text


def test_tensorflow_serving_is_of_the_version_that_is_tested_with() -> None:
    """The container is as old as the package that the contract suite asks with."""
    version = metadata.version("tensorflow-serving-api")
    assert len([file for file in DOCKERFILES if f"=tensorflow/serving:{version}\n" in file.read_text()]) == 2


def services(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The services of a compose file, with what they extend."""
    for service, entry in yaml.safe_load((ROOT / file).read_text())["services"].items():
        base: dict[str, Any] = {}
        if "extends" in entry:
            base = dict(services(entry["extends"]["file"]))[entry["extends"]["service"]]
        yield service, base | entry


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose(file: str) -> None:
    """Every service is pinned, nobody, checked for health, and reached from this machine alone."""
    found = dict(services(file))
    assert found.keys() == {"serving", "gateway", "mlflow", "prometheus", "grafana"}
    volumes = yaml.safe_load((ROOT / file).read_text())["volumes"]
    for entry in found.values():
        assert PINNED.fullmatch(entry["image"])
        assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", entry["user"])
        assert entry["cap_drop"] == ["ALL"]
        assert "healthcheck" in entry or "HEALTHCHECK" in (ROOT / entry["build"]["dockerfile"]).read_text()
        assert all(port.startswith("127.0.0.1:") for port in entry["ports"])
        for volume in entry.get("volumes", []):
            source = volume.split(":")[0]
            assert source in volumes or source == "./var/models" or (ROOT / source).exists()


def test_compose_files_differ_in_the_model_server_alone() -> None:
    """The embedded server takes the container's place, and nothing else changes."""
    plain, embedded = (dict(services(file)) for file in COMPOSE_FILES)
    changed = {
        (service, key)
        for service in plain
        for key in plain[service].keys() | embedded[service].keys() - {"extends"}
        if plain[service].get(key) != embedded[service].get(key)
    }
    assert changed == {("serving", key) for key in ("build", "image", "environment", "stop_grace_period", "command")}


def test_model_server_files() -> None:
    """The configuration files are what both model servers read."""
    text = (ROOT / "serving/models.config").read_text()
    assert text_format.Parse(text, ModelServerConfig()).model_config_list.config
    assert [model.name for model in read_models(ROOT / "serving/models.config")] == ["digits"]
    assert metrics_path(ROOT / "serving/monitoring.config") == "/monitoring/prometheus/metrics"


def test_scrapes() -> None:
    """Prometheus asks services that there are, on ports that they have."""
    config = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())
    found = dict(services("compose.yaml"))
    for job in config["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            service, port = target.split(":")
            assert any(entry.endswith(f":{port}") for entry in found[service]["ports"])


def metrics() -> dict[str, set[str]]:
    """The labels of every series that the gateway and the model server can have."""
    found = {}
    for registry in (GatewayMetrics().registry, ServerMetrics(lambda _: True, list).registry):
        for collector, names in registry._collector_to_names.items():
            labels = set(getattr(collector, "_labelnames", ()))
            # TensorFlow Serving's counters have no _total.
            found |= {
                series: labels | {"le"} for series in (*names, *(series.removesuffix("_total") for series in names))
            }
    return found


def test_dashboard() -> None:
    """The dashboard asks the provisioned source for metrics and labels that there are."""
    known = metrics()
    source = yaml.safe_load((ROOT / "monitoring/grafana/provisioning/datasources/prometheus.yaml").read_text())
    (uid,) = (entry["uid"] for entry in source["datasources"])
    panels = json.loads((ROOT / "monitoring/grafana/dashboards/tensorgate.json").read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {uid}
    for expression in (target["expr"] for panel in panels for target in panel["targets"]):
        selectors = re.findall(r"((?::tensorflow:|tensorgate_)[a-z_:]+)(?:\{(.*?)\})?", expression)
        assert selectors
        grouped = {label for labels in re.findall(r"by \((.*?)\)", expression) for label in labels.split(", ")}
        for series, matchers in selectors:
            assert grouped | set(re.findall(r"(\w+)(?:=|!)", matchers)) <= known[series]
