"""gateway.guards"""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.auth.keys import KeysFile, create
from gateway.guards import Guards
from gateway.metrics import Metrics
from gateway.settings import Settings
from tests.fakes.tls import certificate


def test_expiries_are_metrics(tmp_path: Path) -> None:
    """When the certificate expires, and when each client is left without a key."""
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 30))
    keys = [create("ada", frozenset(), soon), create("ada", frozenset(), later), create("bob", frozenset())]
    KeysFile(keys=[record for _, record in keys]).save(tmp_path / "keys.json")
    identity = certificate()
    (tmp_path / "certificate.pem").write_bytes(identity.certificate)
    (tmp_path / "key.pem").write_bytes(identity.key)
    metrics = Metrics()
    settings = Settings.model_validate(
        {
            "models": ["digits"],
            "auth": {"keys_file": tmp_path / "keys.json"},
            "tls": {"certificate_file": tmp_path / "certificate.pem", "key_file": tmp_path / "key.pem"},
        }
    )
    Guards(settings, metrics)

    def key_expiry(client: str) -> float | None:
        return metrics.registry.get_sample_value("tensorgate_key_expiry_timestamp_seconds", {"client": client})

    assert key_expiry("ada") == pytest.approx(later.timestamp())
    assert key_expiry("bob") == math.inf
    expiry = metrics.registry.get_sample_value("tensorgate_certificate_expiry_timestamp_seconds")
    assert expiry is not None
    assert expiry - datetime.now(UTC).timestamp() == pytest.approx(3600, abs=60)
