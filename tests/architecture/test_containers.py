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
from prometheus_client import CollectorRegistry
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from gateway import configuration
from gateway.drift.metrics import DriftMetrics
from gateway.feedback.metrics import FeedbackMetrics
from gateway.metrics import Metrics as GatewayMetrics
from gateway.quality.metrics import QualityMetrics
from gateway.rollout.metrics import RolloutMetrics
from serving.embedded.config_file import read_models
from serving.embedded.monitoring import Metrics as ServerMetrics
from serving.embedded.monitoring import metrics_path
from tests.fakes.docker import dockerfile

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted([*ROOT.glob("*/**/Dockerfile"), *ROOT.glob("*/*.Dockerfile")])
DASHBOARDS = sorted(ROOT.glob("monitoring/grafana/dashboards/*.json"))
RULES = sorted(ROOT.glob("monitoring/rules/*.yml"))
COMPOSE_FILES = ["compose.yaml", "compose.embedded.yaml"]
# A version of three numbers, maybe of a variant.
PINNED = re.compile(r"[a-z/]+:v?[0-9]+\.[0-9]+\.[0-9]+(-[a-z-]+)?")


def name(path: Path) -> str:
    """A file, as seen from the root."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("file", DOCKERFILES, ids=name)
def test_dockerfiles(file: Path) -> None:
    """An image is built on a pinned one that can be replaced, is checked for health, and runs as nobody."""
    text = file.read_text()
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


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_gateway_settings(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway takes what its image and compose set, and listens on the ports that are published."""
    entry = dict(services(file))["gateway"]
    image = dockerfile.built(ROOT / entry["build"]["dockerfile"], ROOT)
    for name, value in (image.environment | entry["environment"]).items():
        if name.startswith("TENSORGATE_") and value is not None:
            monkeypatch.setenv(name, value)
    settings = configuration.load([])
    listened = {address.rpartition(":")[2] for address in (settings.listen, settings.http)}
    assert listened == {port.rpartition(":")[2] for port in entry["ports"]}


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
    gateway = GatewayMetrics().registry
    DriftMetrics(gateway)
    RolloutMetrics(gateway)
    FeedbackMetrics(gateway)
    found = {"up": {"job", "instance"}}
    for registry in (gateway, ServerMetrics(lambda _: True, list).registry):
        for collector, names in registry._collector_to_names.items():
            labels = set(getattr(collector, "_labelnames", ()))
            # TensorFlow Serving's counters have no _total.
            found |= {
                series: labels | {"le"} for series in (*names, *(series.removesuffix("_total") for series in names))
            }
    qualities = QualityMetrics(CollectorRegistry(), dict, lambda *_: "").describe()
    return found | {family.name: set(family._labelnames) for family in qualities}


def expressions(file: Path) -> list[str]:
    """What a dashboard or a file of rules asks Prometheus for."""
    if file.suffix == ".json":
        panels = json.loads(file.read_text())["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("file", [*DASHBOARDS, *RULES], ids=name)
def test_what_is_asked_for(file: Path) -> None:
    """Dashboards and rules ask for metrics and labels that there are."""
    known = metrics()
    recorded = {rule["record"] for path in RULES for rule in _rules(path) if "record" in rule}
    for expression in expressions(file):
        selectors = re.findall(
            r"(?<![a-z_])((?::tensorflow:|model:tensorgate_|tensorgate_)[\w:]+)(?:\{(.*?)\})?", expression
        )
        assert selectors or "up{" in expression
        grouped = {label for labels in re.findall(r"(?:by|on) \((.*?)\)", expression) for label in labels.split(", ")}
        for series, matchers in selectors:
            if series in recorded:
                continue
            assert series in known, expression
            # Prometheus itself says which instance it asked.
            asked = set(re.findall(r"(\w+)(?:=|!)", matchers)) | (grouped if len(selectors) == 1 else set())
            assert asked <= known[series] | {"instance"}, expression


def _rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("file", DASHBOARDS, ids=name)
def test_dashboards(file: Path) -> None:
    """A dashboard asks the provisioned source, and its panels and itself are told apart."""
    source = yaml.safe_load((ROOT / "monitoring/grafana/provisioning/datasources/prometheus.yaml").read_text())
    (uid,) = (entry["uid"] for entry in source["datasources"])
    board = json.loads(file.read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {uid}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert [json.loads(each.read_text())["uid"] for each in DASHBOARDS].count(board["uid"]) == 1
