"""Prometheus itself reads the rules, runs their tests, and finds what they ask for at a gateway."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.__main__ import free_port
from stack.monitor import MONITORING, prometheus
from tests.integration.conftest import TIMEOUT, Gateway, on_one_transport

ROOT = MONITORING.parent
RULES = sorted(MONITORING.glob("rules/*.yml"))
TESTS = sorted(MONITORING.glob("tests/*.yml"))
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Prometheus (Debian: apt-get install prometheus)"
)


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def promtool(*arguments: str) -> None:
    """Runs promtool, which must be content."""
    ended = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_prometheus
def test_rules() -> None:
    """The rules are well-formed, and alert when they should and only then."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))
    promtool("test", "rules", *map(str, TESTS))
    promtool("check", "config", "prometheus.yml")


def test_every_alert_is_tested_and_explained() -> None:
    """There is a case in which it is raised, and a place that says what to do then."""
    raised = {
        case["alertname"]
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert raised == alerts().keys()
    for name, rule in alerts().items():
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = {line[3:].lower() for line in (ROOT / file).read_text().splitlines() if line.startswith("## ")}
        assert anchor in headings, name
        assert rule["labels"]["severity"] in ("page", "ticket")


def ask(address: str, path: str) -> Any:
    """Data of Prometheus's HTTP API."""
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=TIMEOUT) as answer:
        return json.load(answer)["data"]


@needs_prometheus
@on_one_transport
def test_at_a_gateway(shared_gateway: Gateway, tmp_path: Path) -> None:
    """What `make monitor` starts scrapes the gateway and evaluates every rule."""
    address = f"127.0.0.1:{free_port()}"
    with prometheus(tmp_path, shared_gateway.http, address, interval="1s"):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            rules = [rule for group in ask(address, "rules")["groups"] for rule in group["rules"]]
            if all(rule["health"] == "ok" for rule in rules) and ask(address, "query?query=up%20%3D%3D%201")["result"]:
                break
            time.sleep(0.2)
        assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == alerts().keys()
        assert [rule for rule in rules if rule["health"] != "ok"] == []
        found = ask(address, "query?query=tensorgate_model_version")["result"]
        assert [series["value"][1] for series in found] == ["1"]
        firing = [alert["labels"]["alertname"] for alert in ask(address, "alerts")["alerts"]]
        assert firing == []


def test_without_a_gateway(tmp_path: Path) -> None:
    """There is a sentence that helps."""
    ended = subprocess.run(
        [sys.executable, "-m", "stack.monitor", f"--http=127.0.0.1:{free_port()}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "`make run` starts one" in ended.stderr
