"""Envoy's configuration, made from ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyvoy import PyvoyServer

from serving.transport.envoy import pages
from serving.transport.envoy.certificates import tls_context
from serving.transport.envoy.extension import extension
from serving.transport.envoy.launched import ADMIN_SOCKET, DRAINING
from serving.transport.envoy.options import EnvoyOptions, Tls

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Listener:
    """Where to listen: a numeric or resolvable host and a port, or a Unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def address(self) -> dict[str, Any]:
        """As Envoy writes it."""
        if self.path:
            return {"pipe": {"path": self.path}}
        # As grpcio does, :: takes IPv4 too.
        return {"socket_address": {"address": self.host, "port_value": self.port, "ipv4_compat": self.host == "::"}}


def bootstrap(
    app: str,
    listeners: Sequence[Listener],
    directory: Path,
    options: EnvoyOptions,
    tls: Tls | None = None,
    *,
    admin: Listener | None = None,
) -> dict[str, Any]:
    """Envoy's bootstrap configuration for the ASGI application `app` ("module:attribute") on each of `listeners`.

    In `directory` are the admin interface's socket and certificates. Unix sockets are in plain text always. Envoy's own
    pages are on `admin`.
    """
    limit = extension(
        "resource_monitors.global_downstream_max_connections",
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=options.max_connections,
    )
    # By what is in the file, which is how Envoy is told to say GOAWAY: see Host.close.
    draining = extension(
        "resource_monitors.injected_resource",
        "resource_monitors.injected_resource.v3.InjectedResourceConfig",
        filename=str(directory / DRAINING),
    )
    manager = _connection_manager(app, options)
    return {
        # Envoy wants a name wherever it watches files.
        "node": {"id": "tensorgate", "cluster": "tensorgate"},
        "admin": {"address": {"pipe": {"path": str(directory / ADMIN_SOCKET)}}},
        "application_log_config": {"log_format": _log_format(json=options.json_log)},
        # Python's memory too. What a burst has left free goes back to the system when it is over, at no call's expense.
        "memory_allocator_manager": {
            "bytes_to_release": 32 * _MEBIBYTE,
            "memory_release_interval": "1s",
            "max_per_cpu_cache_size_bytes": _MEBIBYTE // 2,
        },
        "overload_manager": {
            "refresh_interval": "0.25s",
            "resource_monitors": [limit, draining],
            "actions": [_idle_no_more(draining["name"])],
        },
        "static_resources": {
            "clusters": [pages.cluster(directory)] if admin else [],
            "listeners": [
                {
                    "name": f"grpc-{number}",
                    "stat_prefix": "grpc",
                    "address": listener.address,
                    # Otherwise a second server could take the same port, and each would get half of the connections.
                    "enable_reuse_port": options.shared,
                    "per_connection_buffer_limit_bytes": _MEBIBYTE,
                    "filter_chains": [
                        {"filters": [manager]}
                        | ({"transport_socket": _tls_socket(directory, tls)} if tls and not listener.path else {})
                    ],
                }
                for number, listener in enumerate(listeners)
            ]
            + ([pages.listener(admin.address)] if admin else []),
        },
    }


def _idle_no_more(when: str) -> dict[str, Any]:
    """What ends every connection without calls at once, with GOAWAY, as soon as the monitor `when` says 1."""
    idle = {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "0.001s"}
    kind = "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig"
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [{"name": when, "scaled": {"scaling_threshold": 0.5, "saturation_threshold": 1}}],
        "typed_config": {"@type": kind, "timer_scale_factors": [idle]},
    }


def _tls_socket(directory: Path, tls: Tls) -> dict[str, Any]:
    kind = "transport_sockets.tls.v3.DownstreamTlsContext"
    return extension("transport_sockets.tls", kind, **tls_context(directory, tls))


def _connection_manager(app: str, options: EnvoyOptions) -> dict[str, Any]:
    return extension(
        "filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="grpc",
        route_config={"virtual_hosts": [{"name": "grpc", "domains": ["*"]}]},
        # The first makes plain gRPC of gRPC-Web.
        http_filters=[extension("filters.http.grpc_web", "filters.http.grpc_web.v3.GrpcWeb"), *_application(app)],
        # The caller's own id reaches us, or none.
        generate_request_id=False,
        # What a client itself says of its certificate is dropped.
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"cert": True},
        preserve_external_request_id=True,
        server_header_transformation="PASS_THROUGH",
        max_request_headers_kb=-(-options.max_header_bytes // 1024),
        request_headers_timeout=_seconds(options.ping_timeout),
        # A call may be silent for as long as its deadline allows, or for good, such as a watch of health.
        stream_idle_timeout="0s",
        stream_flush_timeout=_seconds(options.ping_timeout),
        common_http_protocol_options={
            "idle_timeout": _seconds(options.idle_timeout),
            # As gRPC counts: each is its name, its value and 32 bytes.
            "max_headers_count": options.max_header_bytes // 32,
        },
        http2_protocol_options={
            "max_concurrent_streams": options.max_streams,
            # What a client may send ahead of a servicer that does not read, on one stream and on a connection's all.
            "initial_stream_window_size": _MEBIBYTE,
            "initial_connection_window_size": 16 * _MEBIBYTE,
            # A bad request ends its own stream and no other.
            "override_stream_error_on_invalid_http_message": True,
            "connection_keepalive": {
                "connection_idle_interval": _seconds(options.ping_interval),
                "interval": _seconds(options.ping_interval),
                "timeout": _seconds(options.ping_timeout),
            },
        },
    )


def _application(app: str) -> list[dict[str, Any]]:
    """The filters of pyvoy that run the application, as pyvoy itself writes them."""
    listener = PyvoyServer(app, lifespan=True).get_envoy_config()["static_resources"]["listeners"][0]
    filters: list[dict[str, Any]] = listener["filter_chains"][0]["filters"][-1]["typed_config"]["http_filters"]
    return filters


def _log_format(*, json: bool) -> dict[str, Any]:
    if not json:
        return {"text_format": "%Y-%m-%dT%T.%fZ envoy %l: %v"}
    return {
        "json_format": {"event": "%j", "logger": "envoy.%n", "level": "%l", "timestamp": "%Y-%m-%dT%T.%fZ"},
    }


def _seconds(value: float) -> str:
    return f"{value:g}s"
