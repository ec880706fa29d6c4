"""The Kubernetes overlays, built: what must be true of them beyond the API's schemas."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.embedded import config_file, flags

OVERLAYS = Path(__file__).resolve().parents[3] / "kubernetes/overlays"
NAMES = sorted(path.name for path in OVERLAYS.iterdir())

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kustomize(directory: Path) -> list[dict[str, Any]]:
    """The objects of an overlay."""
    command = ["kubectl", "kustomize", directory]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


@cache
def build(overlay: str) -> dict[str, Any]:
    """The overlay's objects, by kind: there is one of each."""
    objects = kustomize(OVERLAYS / overlay)
    kinds = {item["kind"]: item for item in objects}
    assert len(kinds) == len(objects)
    return kinds


def pod(overlay: str) -> dict[str, Any]:
    """The pod's spec."""
    return build(overlay)["Deployment"]["spec"]["template"]["spec"]


def containers(overlay: str) -> dict[str, Any]:
    """The pod's containers by name."""
    return {container["name"]: container for container in pod(overlay)["containers"]}


@pytest.mark.parametrize("overlay", NAMES)
def test_wired(overlay: str) -> None:
    """The gateway asks the server on the port that it listens on; probes ask the ports that are listened on."""
    gateway, server = containers(overlay)["gateway"], containers(overlay)["server"]
    settings = {variable["name"]: variable.get("value") for variable in gateway["env"]}
    assert settings["TENSORGATE_BACKEND__ADDRESS"] == "127.0.0.1:8500"
    assert "--port=8500" in server["args"]
    assert settings["TENSORGATE_LISTEN"] == "0.0.0.0:50051"
    assert gateway["startupProbe"]["grpc"] == gateway["readinessProbe"]["grpc"] == {"port": 50051}
    assert server["startupProbe"]["grpc"] == server["livenessProbe"]["grpc"] == {"port": 8500}


@pytest.mark.parametrize("overlay", NAMES)
def test_server_understands(overlay: str, tmp_path: Path) -> None:
    """The server takes the flags; its configuration has the gateway's models, where they are mounted."""
    given = flags.parse(containers(overlay)["server"]["args"])
    assert given.enable_grpc_healthcheck_service
    (tmp_path / "models.config").write_text(build(overlay)["ConfigMap"]["data"]["models.config"])
    models = config_file.read_models(tmp_path / "models.config")
    settings = {variable["name"]: variable.get("value") for variable in containers(overlay)["gateway"]["env"]}
    assert [model.name for model in models] == settings["TENSORGATE_MODELS"].split(",")
    mounts = {mount["mountPath"]: mount["name"] for mount in containers(overlay)["server"]["volumeMounts"]}
    assert all(mounts[str(Path(model.base_path).parent)] == "models" for model in models)


@pytest.mark.parametrize("overlay", NAMES)
def test_restricted(overlay: str) -> None:
    """No container is root, gains rights, or writes to its root file system; the model store is read."""
    assert pod(overlay)["securityContext"]["runAsNonRoot"] is True
    assert pod(overlay)["automountServiceAccountToken"] is False
    for container in containers(overlay).values():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["name"]: mount for mount in containers(overlay)["server"]["volumeMounts"]}
    assert mounts["models"]["readOnly"]


@pytest.mark.parametrize("overlay", NAMES)
def test_images_by_digest(overlay: str) -> None:
    """An image is what was tested, whatever its tag is moved to."""
    for container in containers(overlay).values():
        assert "@sha256:" in container["image"]


@pytest.mark.parametrize("overlay", NAMES)
def test_secrets_by_reference(overlay: str) -> None:
    """Manifests hold no secret."""
    assert "Secret" not in build(overlay)
    key = next(v for v in containers(overlay)["gateway"]["env"] if v["name"] == "TENSORGATE_RECEIPT_KEY")
    assert set(key) == {"name", "valueFrom"}


def test_off_until_an_overlay_takes_it(tmp_path: Path) -> None:
    """With its components production takes labels and rolls versions out; its secrets are references still."""
    assert not re.search("FEEDBACK|ROLLOUT|CAPTURE", json.dumps(containers("production")))
    shutil.copytree(OVERLAYS.parent, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes/overlays/production"
    settings = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    settings["components"] += ["../../components/feedback", "../../components/model_rollouts"]
    settings["configMapGenerator"] = [{"name": "digits-writes", "literals": ["TENSORGATE_ROLLOUT__PLANS=gs://bucket"]}]
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(settings))
    objects = kustomize(overlay)
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    gateway = next(c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "gateway")
    url = next(v for v in gateway["env"] if v["name"] == "TENSORGATE_FEEDBACK__DATABASE_URL")
    assert url["valueFrom"] == {"secretKeyRef": {"name": "digits-feedback", "key": "url"}}
    (taken,) = gateway["envFrom"]
    data = {item["metadata"]["name"]: item["data"] for item in objects if item["kind"] == "ConfigMap"}
    assert data[taken["configMapRef"]["name"]] == {"TENSORGATE_ROLLOUT__PLANS": "gs://bucket"}
    (policy,) = (item for item in objects if item["kind"] == "NetworkPolicy")
    assert {5432, 443} <= {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_termination_outlasts_the_drain() -> None:
    """A pod is killed after the gateway has had the time that it is set to take."""
    settings = {v["name"]: v.get("value") for v in containers("production")["gateway"]["env"]}
    drain = float(settings["TENSORGATE_DRAIN__DELAY"]) + float(settings["TENSORGATE_DRAIN__GRACE"])
    assert pod("production")["terminationGracePeriodSeconds"] > drain


def test_canary_shares_productions_service() -> None:
    """The service, the network policy and the disruption budget select both tracks; each Deployment its own."""
    labels = {}
    for overlay in ("production", "canary"):
        spec = build(overlay)["Deployment"]["spec"]
        labels[overlay] = spec["template"]["metadata"]["labels"].items()
        assert labels[overlay] >= spec["selector"]["matchLabels"].items()
    production = build("production")
    shared = (
        production["Service"]["spec"]["selector"],
        production["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        production["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    )
    for selector in shared:
        assert labels["production"] >= selector.items()
        assert labels["canary"] >= selector.items()
    stable = production["Deployment"]["spec"]["selector"]["matchLabels"]
    assert not labels["canary"] >= stable.items()
    assert "HorizontalPodAutoscaler" not in build("canary")


def test_callers_say_so() -> None:
    """Whoever has the label may call, from anywhere in the cluster; it need be no pod of the service."""
    rule = build("production")["NetworkPolicy"]["spec"]["ingress"][0]
    assert rule["from"][0]["podSelector"]["matchLabels"] == {"calls-digits": "true"}


def test_environments_share_nothing() -> None:
    """Volumes have no namespace: two environments in one cluster have one each."""
    staging, production = build("staging"), build("production")
    assert staging["Namespace"]["metadata"]["name"] != production["Namespace"]["metadata"]["name"]
    assert staging["PersistentVolume"]["metadata"]["name"] != production["PersistentVolume"]["metadata"]["name"]
    assert staging["PersistentVolumeClaim"]["spec"]["volumeName"] == staging["PersistentVolume"]["metadata"]["name"]
