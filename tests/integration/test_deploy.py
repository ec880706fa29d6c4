"""What a deployment finds out from a gateway."""

import pytest

from deploy import rollout
from deploy.commands import DeployError
from tests.integration.conftest import Gateway


@pytest.fixture
def key(shared_gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's key in the environment, by the platform's way."""
    monkeypatch.delenv("TENSORGATE_KEY", raising=False)
    monkeypatch.setenv("TENSORGATE_METADATA", f"x-api-key={shared_gateway.key}")


@pytest.mark.usefixtures("key")
def test_wait(shared_gateway: Gateway) -> None:
    """A version that answers is not waited for; one that does not come is said after the time is up."""
    rollout.wait(shared_gateway.address, "digits", 1, tls=False)
    with pytest.raises(DeployError, match=r"digits version 2 does not answer at .*: it is not listed"):
        rollout.wait(shared_gateway.address, "digits", 2, seconds=0, tls=False)
    with pytest.raises(DeployError, match="letters version 1 does not answer"):
        rollout.wait(shared_gateway.address, "letters", 1, seconds=0, tls=False)


@pytest.mark.usefixtures("key")
def test_default_version(shared_gateway: Gateway) -> None:
    """What answers now; none is no error, and a gateway that is away is one."""
    assert rollout.default_version(shared_gateway.address, "digits", tls=False) == 1
    assert rollout.default_version(shared_gateway.address, "letters", tls=False) == 0
    with pytest.raises(DeployError, match="cannot be asked for digits"):
        rollout.default_version("127.0.0.1:1", "digits", tls=False)
