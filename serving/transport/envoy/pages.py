"""Envoy's own pages: its admin interface, but that nothing can be done there."""

from pathlib import Path
from typing import Any

from serving.transport.envoy.extension import extension
from serving.transport.envoy.launched import ADMIN_SOCKET

_CLUSTER = "admin"


def listener(address: dict[str, Any]) -> dict[str, Any]:
    """A listener that hands GET on to the admin interface and answers 405 to all else: what changes Envoy is POST.

    Answers to names of this machine alone, so that no page in a browser can have its own host's name stand for it.
    """
    only = {"name": ":method", "string_match": {"exact": "GET"}}
    routes = [
        {"match": {"prefix": "/", "headers": [only]}, "route": {"cluster": _CLUSTER}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 405}},
    ]
    manager = extension(
        "filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="pages",
        strip_any_host_port=True,
        route_config={
            "virtual_hosts": [{"name": "pages", "domains": ["localhost", "127.0.0.1", "[::1]"], "routes": routes}]
        },
        http_filters=[extension("filters.http.router", "filters.http.router.v3.Router")],
    )
    return {
        "name": "pages",
        "stat_prefix": "pages",
        "address": address,
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [manager]}],
    }


def cluster(directory: Path) -> dict[str, Any]:
    """Where the admin interface is."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(directory / ADMIN_SOCKET)}}}}
    return {
        "name": _CLUSTER,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
