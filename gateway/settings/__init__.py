"""Every setting of the gateway: a YAML file, the environment (TENSORGATE_…) and the command line, later ones winning.

A nested setting is `backend.address` in the file, TENSORGATE_BACKEND__ADDRESS in the environment, --backend.address on
the command line.
"""

import errno
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from gateway.settings.backend import ADDRESS, BackendSettings
from gateway.settings.capture import CaptureSettings
from gateway.settings.drift import DriftSettings
from gateway.settings.feedback import FeedbackSettings
from gateway.settings.guards import AuthSettings, LimitSettings, Section, TlsSettings, is_loopback
from gateway.settings.rest import RestSettings
from gateway.settings.rollout import RolloutSettings
from serving.transport.default import Transport, default_transport
from serving.transport.envoy.options import EnvoyOptions

CONFIG_VARIABLE = "TENSORGATE_CONFIG"
Address = Annotated[str, Field(pattern=f"^{ADDRESS}$")]


class BatchingSettings(Section):
    """How rows are gathered into upstream calls.

    While fewer than `max_in_flight` calls are under way rows leave as soon as no more come: at once at low load, within
    15 ms under load.
    """

    max_rows: Annotated[int, Field(ge=1)] = 128
    """Rows in one upstream call; a request with more travels alone."""
    max_in_flight: Annotated[int, Field(ge=1)] = 2
    """Upstream calls at once for each model version and signature."""
    max_queued_rows: Annotated[int, Field(ge=1)] = 4096
    """Rows that may wait; beyond them callers get RESOURCE_EXHAUSTED."""


class PreprocessingSettings(Section):
    """What models may have the gateway do with their inputs; docs/preprocessing.md lists the steps that there are."""

    allowed_steps: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")], ...] = ()
    """Steps of one's own that contracts may name, as module:function, or module for all that it defines. A version that
    names another one is refused. Takes a restart."""


class DrainSettings(Section):
    """What happens at SIGTERM: health turns NOT_SERVING, then no new calls are taken, then the process ends."""

    delay: Annotated[float, Field(ge=0)] = 1.0
    """Seconds in which calls are still taken, for load balancers to notice."""
    grace: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that calls in flight may take to finish."""


class EnvoySettings(Section):
    """Connections, as Envoy sees to them; without effect on the transport grpc.aio."""

    max_connections: Annotated[int, Field(ge=1)] = EnvoyOptions.max_connections
    """Connections at once; further ones are closed as they come."""
    max_streams: Annotated[int, Field(ge=1, le=2**31 - 1)] = EnvoyOptions.max_streams
    """Calls at once on one connection; clients wait with further ones."""
    max_header_bytes: Annotated[int, Field(ge=1024, le=8 << 20)] = EnvoyOptions.max_header_bytes
    """Size of the headers of one request, rounded up to KiB."""
    idle_timeout: Annotated[float, Field(gt=0)] = EnvoyOptions.idle_timeout
    """Seconds after which a connection without calls is closed."""
    ping_interval: Annotated[float, Field(ge=1)] = EnvoyOptions.ping_interval
    """Seconds of silence after which a connection's other end is asked for a sign of life."""
    ping_timeout: Annotated[float, Field(ge=1)] = EnvoyOptions.ping_timeout
    """Seconds within which it must give one, or send a request's headers, or read what is left of an answer."""
    admin: Address | None = None
    """host:port, on loopback, of Envoy's own pages (`/stats`, `/stats/prometheus`, `/memory`, `/listeners`, …), to
    be read and not to change anything; port 0 takes a free one and logs it. Of one worker alone. Default: nowhere."""


class LogSettings(Section):
    """Logs go to stderr, one line an event."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""
    format: Literal["json", "console"] = "json"
    """JSON for machines, console for people."""
    calls_per_second: Annotated[int, Field(ge=0)] = 100
    """Calls that went well and get a line each second; those beyond are counted in the next line's `skipped`, and those
    that failed have a line always."""


class Settings(BaseSettings):
    """The gateway in front of TensorFlow Serving."""

    model_config = SettingsConfigDict(
        env_prefix="TENSORGATE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_parse_none_str="null",
        cli_prog_name="python -m gateway",
    )

    models: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], NoDecode, Field(min_length=1)]
    """Names of the models to serve, as the model server knows them, separated by commas. Required."""
    listen: Address = "127.0.0.1:50051"
    """host:port for gRPC; port 0 takes a free one and logs it."""
    http: Address = "127.0.0.1:8080"
    """host:port for /metrics, /livez, /readyz and JSON; port 0 takes a free one and logs it."""
    reflection: bool = True
    """Whether gRPC server reflection tells callers with a key of every service and message."""
    transport: Transport = Field(default_factory=default_transport)
    """What carries gRPC: grpcio's own server, or Envoy with the gateway inside, where a call costs a fraction. Default:
    envoy where it can run (docs/transports.md), else grpc.aio."""
    print_envoy_config: bool = False
    """Prints the configuration that Envoy would be given, as YAML, and ends."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve as one, on the same ports; a connection stays with one of them. Limits that are counted in
    memory, and those on calls and bytes at once, hold for each by itself."""
    threads: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: os.cpu_count() or 1)
    """Threads that decode images, in each process. Default: the number of CPUs, shared among the workers."""
    receipt_key: SecretStr | None = None
    """Secret of 16 to 64 characters that signs prediction ids; the same on every replica. Default: a new one at every
    start, so that ids from before a restart cannot be checked."""
    receipt_key_fallbacks: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Other keys, separated by commas, whose prediction ids are taken: older ones, for whose ids feedback may
    still come, or the next one, before the replicas sign with it."""
    receipt_days: Annotated[float, Field(gt=0, le=3650)] = 90.0
    """Days for which a prediction's id is taken."""
    backend: BackendSettings = BackendSettings()
    batching: BatchingSettings = BatchingSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    limits: LimitSettings = LimitSettings()
    rest: RestSettings = RestSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    drift: DriftSettings = DriftSettings()
    capture: CaptureSettings = CaptureSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    rollout: RolloutSettings = RolloutSettings()
    drain: DrainSettings = DrainSettings()
    envoy: EnvoySettings = EnvoySettings()
    log: LogSettings = LogSettings()

    @field_validator("models", "receipt_key_fallbacks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        values = [value] if isinstance(value, str) else value
        return (
            [name.strip() for part in values for name in part.split(",")] if isinstance(values, list | tuple) else value
        )

    @field_validator("receipt_key", "receipt_key_fallbacks")
    @classmethod
    def _long_enough(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> SecretStr | tuple[SecretStr, ...] | None:
        for key in (value,) if isinstance(value, SecretStr) else value or ():
            if not 16 <= len(key.get_secret_value().encode()) <= 64:  # noqa: PLR2004  # BLAKE2b's
                raise ValueError("expected 16 to 64 bytes")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> "Settings":
        encrypted = {"listen": self.tls.certificate_file is not None, "http": self.tls.http}
        for name, address in (("listen", self.listen), ("http", self.http)):
            if not (encrypted[name] or self.tls.plaintext_anywhere or is_loopback(address.rpartition(":")[0])):
                raise ValueError(
                    f"`{name}` is {address}, where other machines would speak to it in plain text; expected an address "
                    "on loopback, TLS (`tls.certificate_file`, `tls.key_file`, `tls.http`), or "
                    "`tls.plaintext_anywhere` if something in front ends TLS"
                )
        if self.envoy.admin and not is_loopback(self.envoy.admin.rpartition(":")[0]):
            raise ValueError(
                f"`envoy.admin` is {self.envoy.admin}; expected an address on loopback, as it asks for no key"
            )
        if self.envoy.admin and self.workers > 1:
            raise ValueError("`envoy.admin` is one process's; expected `workers` to be 1, or no `envoy.admin`")
        if self.auth.certificates and self.tls.client_ca_file is None:
            raise ValueError("`auth.certificates` needs `tls.client_ca_file`: without it no client shows a certificate")
        if self.feedback.database_url and self.receipt_key is None:
            raise ValueError("`feedback.database_url` needs `receipt_key`: without it a restart makes all ids unknown")
        if self.feedback.retention_days is not None and self.feedback.retention_days < self.receipt_days:
            raise ValueError(
                f"`feedback.retention_days` is {self.feedback.retention_days:g}; expected {self.receipt_days:g} "
                "(`receipt_days`) or more: a label that is gone could be sent, and would count, again"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # no .env files here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # no secrets directory here
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line (init), then environment, then the file that TENSORGATE_CONFIG names."""
        file = os.environ.get(CONFIG_VARIABLE)
        if file and not Path(file).is_file():
            raise FileNotFoundError(errno.ENOENT, "there is no such settings file", file)
        yaml = (YamlConfigSettingsSource(settings_cls, yaml_file=file),) if file else ()
        return init_settings, env_settings, *yaml
