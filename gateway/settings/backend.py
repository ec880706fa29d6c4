"""The settings of the model servers behind the gateway."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, field_validator

from gateway.settings.guards import Section

ADDRESS = r"(\[[0-9a-fA-F:]+\]|[^:\s,]+):\d{1,5}"


class BackendSettings(Section):
    """The model servers behind the gateway."""

    address: Annotated[str, Field(pattern=rf"^{ADDRESS}(,{ADDRESS})*$")] = "127.0.0.1:8500"
    """host:port of TensorFlow Serving or of the embedded server. A name may stand for several servers; else several are
    given by their IP addresses, separated by commas. Calls go round those that answer."""
    timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that a prediction may take where the caller sets no shorter deadline."""
    poll_interval: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between two looks at which versions there are."""
    health_service: str = "ModelService"
    """With several servers: the name by which grpc.health.v1 is asked whether one takes calls. TensorFlow Serving and
    the embedded server know `ModelService`; a server without grpc.health.v1 is taken to be well while connected."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 3
    """Times that a prediction is tried, within its deadline, where a server could not be reached (UNAVAILABLE). Retries
    stop while many calls fail, lest they make it worse."""
    hedge_after: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which a prediction that is not answered is sent once more, for one call in ten at most; the first
    answer counts. Default: never."""
    breaker_failures: Annotated[int, Field(ge=1)] = 20
    """Calls in a row that must fail, unreachable or not answered within half of `timeout`, for calls to be refused at
    once for a while."""
    breaker_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How long that is; then one call tries whether the servers are back."""
    cache_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of answers to keep, by version and input, for models that answer the same input alike. 0 keeps none."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers' addresses one by one."""
        return tuple(self.address.split(","))

    @field_validator("address")
    @classmethod
    def _several_by_ip(cls, value: str) -> str:
        addresses = value.split(",")
        versions = {_ip_version(address) for address in addresses}
        if len(addresses) > 1 and (None in versions or len(versions) > 1):
            raise ValueError("expected one host:port, or several with IP addresses of one version")
        return value


def _ip_version(address: str) -> int | None:
    """4 or 6, or None for a name."""
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).version
    except ValueError:
        return None


def target(addresses: tuple[str, ...]) -> str:
    """The addresses as gRPC wants them."""
    version = _ip_version(addresses[0])
    return f"ipv{version}:{','.join(addresses)}" if version else addresses[0]


def may_be_several(addresses: tuple[str, ...]) -> bool:
    """Whether there may be more than one server: a name can stand for any number."""
    return len(addresses) > 1 or _ip_version(addresses[0]) is None
