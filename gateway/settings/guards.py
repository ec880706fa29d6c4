"""The settings of what guards the port: TLS, authentication, limits."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

SCOPE_PATTERN = re.compile(r"((predict|feedback):(\*|[^\s:*]+)|admin)")
Scope = Annotated[str, Field(pattern=f"^{SCOPE_PATTERN.pattern}$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TlsSettings(Section):
    """TLS on the gateway's ports. The files are read again when they change; connections that stand stay."""

    certificate_file: Path | None = None
    """The certificate and those that lead to its authority, in PEM."""
    key_file: Path | None = None
    """The certificate's private key, in PEM, without a password."""
    client_ca_file: Path | None = None
    """Authorities, in PEM: with it, clients of the gRPC port must have a certificate of theirs (mutual TLS)."""
    http: bool = False
    """Whether the HTTP port speaks TLS too; clients need no certificate there."""
    plaintext_anywhere: bool = False
    """Whether ports without TLS may be reached from other machines: only where something in front ends TLS, as Cloud
    Run does. Otherwise the gateway speaks plain text on loopback alone."""

    @model_validator(mode="after")
    def _complete(self) -> "TlsSettings":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected both `certificate_file` and `key_file`, or neither")
        if self.certificate_file is None and (self.client_ca_file or self.http):
            raise ValueError("`client_ca_file` and `http` need `certificate_file` and `key_file`")
        return self


class IssuerSettings(Section):
    """An OpenID Connect issuer whose tokens (JWT) are taken."""

    issuer: str
    """Its URL exactly as its tokens have it in `iss`; https, or http on loopback with `insecure_http`."""
    audiences: Annotated[tuple[str, ...], Field(min_length=1)]
    """What the tokens' `aud` must hold one of. Required: without it a token made for any other service would do."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """Signature algorithms that are taken, whatever a token claims; asymmetric ones only."""
    jwks_url: str | None = None
    """Where its keys are. Default: as `<issuer>/.well-known/openid-configuration` says."""
    ca_file: Path | None = None
    """Certificates to trust when fetching its keys, in PEM. Default: the system's."""
    insecure_http: bool = False
    """Whether plain http is allowed on loopback, for tests."""
    client_claim: str = "sub"
    """The claim that names the client."""
    scopes_claim: str = "scope"
    """The claim that holds scopes: a string with spaces between them, or a list."""
    scope_map: dict[str, frozenset[Scope]] = Field(default_factory=dict)
    """What a value of `scopes_claim` allows. Values like `predict:digits` need no entry; `admin` and
    all others allow nothing without."""
    scopes: frozenset[Scope] = frozenset()
    """What every valid token of this issuer allows."""
    clients: dict[str, frozenset[Scope]] = Field(default_factory=dict)
    """What clients, by name, are allowed beyond that. Only these names become labels of metrics."""
    required_claims: dict[str, str | bool | int] = Field(default_factory=dict)
    """Claims that must have these values, e.g. `{email_verified: true}`."""
    leeway: Annotated[float, Field(ge=0, le=300)] = 30.0
    """Seconds by which the clocks may differ."""
    max_key_age: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds after which its keys are fetched again. Should that fail, the old ones stay in force."""

    @model_validator(mode="after")
    def _secure(self) -> "IssuerSettings":
        for url in (self.issuer, self.jwks_url):
            if url is not None and not permitted(url, insecure_http=self.insecure_http):
                raise ValueError(f"{url!r}: expected an https URL, or http on loopback with `insecure_http`")
        return self


class CertificateSettings(Section):
    """Whom a client certificate stands for."""

    client: str
    """The client's name, for logs, metrics and limits."""
    scopes: frozenset[Scope] = frozenset({"predict:*"})
    """What it may do."""


class AuthSettings(Section):
    """Who may call."""

    enabled: bool = True
    """Off means that everybody may do everything: only where something else guards the port."""
    keys_file: Path | None = Path("var/keys.json")
    """The file that `python -m gateway keys create` writes; re-read when it changes. `null`: no API keys are taken."""
    health_names_models: bool = True
    """Whether grpc.health.v1, which needs no key, answers for models by name; off, for services alone."""
    issuers: tuple[IssuerSettings, ...] = ()
    """Issuers whose tokens are taken."""
    certificates: dict[str, CertificateSettings] = Field(default_factory=dict)
    """Whom client certificates stand for, by subject alternative name (URI, DNS name, e-mail), or by common name for a
    certificate without any. Needs `tls.client_ca_file`."""

    @model_validator(mode="after")
    def _some_way_in(self) -> "AuthSettings":
        if self.enabled and self.keys_file is None and not self.issuers and not self.certificates:
            raise ValueError("nobody could call: expected `keys_file`, `issuers` or `certificates`")
        names = [issuer.issuer for issuer in self.issuers]
        if len(set(names)) < len(names):
            raise ValueError("`issuers` has the same issuer twice")
        return self


class RateSettings(Section):
    """How much may be asked. What is not set is not limited."""

    calls_per_second: Annotated[float, Field(gt=0)] | None = None
    """Calls per second in the long run, a token bucket's rate."""
    burst: Annotated[int, Field(ge=1)] | None = None
    """Calls that may come at once, the bucket's size. Default: a second's worth."""
    concurrent_calls: Annotated[int, Field(ge=1)] | None = None
    """Calls being answered at once."""


class ClientLimitSettings(RateSettings):
    """How much a client may ask."""

    calls_per_day: Annotated[int, Field(ge=1)] | None = None
    """Calls per day, from midnight to midnight UTC."""
    priority: Literal["interactive", "bulk"] = "interactive"
    """The best class its calls may have when the gateway is full: bulk waits until nothing interactive does. A call may
    lower its own with the metadata `x-priority: bulk`."""


class LimitSettings(Section):
    """What one client, one model, and all of them together may be asked. Beyond it callers get RESOURCE_EXHAUSTED with
    the time after which to retry.
    """

    max_request_bytes: Annotated[int, Field(ge=1, le=512 << 20)] = 16 << 20
    """Size of one request message."""
    max_instances: Annotated[int, Field(ge=1)] = 256
    """Instances in one request."""
    max_concurrent_calls: Annotated[int, Field(ge=1)] = 1024
    """Calls being answered at once."""
    max_concurrent_streams: Annotated[int, Field(ge=1)] = 128
    """Streams open at once."""
    max_stream_in_flight: Annotated[int, Field(ge=1)] = 32
    """Requests of one stream that are being answered, or whose answers were not taken yet."""
    max_waiting_calls: Annotated[int, Field(ge=0)] = 1024
    """Calls that may wait for one of those to end, interactive ones before bulk."""
    max_bytes_in_flight: Annotated[int, Field(ge=1)] = 512 << 20
    """Bytes of all requests that are being answered or wait."""
    client: ClientLimitSettings = ClientLimitSettings()
    """Each client that `clients` does not name."""
    clients: dict[str, ClientLimitSettings] = Field(default_factory=dict)
    """Clients by name, each instead of `client`."""
    models: dict[str, RateSettings] = Field(default_factory=dict)
    """Models by name, for all clients together."""
    redis_url: SecretStr | None = None
    """redis://, rediss:// or unix:// URL of a Redis in which all replicas count together. Default: each by itself."""
    redis_timeout: Annotated[float, Field(gt=0)] = 0.1
    """Seconds that Redis may take."""
    redis_down: Literal["local", "refuse"] = "local"
    """While Redis is away: `local`, each replica counts by itself; `refuse`, limited calls get RESOURCE_EXHAUSTED."""

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a URL that begins with redis://, rediss:// or unix://")
        return value


def permitted(url: str, *, insecure_http: bool) -> bool:
    """Whether keys may be fetched from `url`: https with a host, or http on loopback if that is allowed."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and insecure_http and is_loopback(host)))


def is_loopback(host: Any) -> bool:
    """Whether a host's name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(str(host).strip("[]")).is_loopback
    except ValueError:
        return False
