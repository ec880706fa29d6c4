"""The runbooks say what to do about each alert."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("module", ["gcp_serving", "aws_serving"])
def test_every_alert_has_a_section(module: str) -> None:
    """The section that an alert's text names is there."""
    text = (ROOT / f"terraform/modules/{module}/monitoring.tf").read_text()
    alerts = set(re.findall(r"^    (\w+) = \{\n      (?:title|text) ", text, re.MULTILINE))
    alerts |= set(re.findall(r"incidents\.md, `(\w+)`", text))
    assert {"errors", "latency", "front_end", "saturation"} <= alerts
    sections = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks/incidents.md").read_text(), re.MULTILINE))
    assert alerts <= sections
