"""Certificates and keys as Envoy reads them: in files, again when they are replaced."""

import base64
import json
from pathlib import Path
from typing import Any

from serving.transport.envoy.options import Tls

_SERVER, _CLIENTS = "server", "clients"


def write(directory: Path, tls: Tls) -> None:
    """Puts them into `directory` in place of what is there; Envoy shows them to who connects from then on."""
    for name, content in _secrets(tls).items():
        new = directory / f".{name}.json"
        new.write_text(json.dumps(content))
        # Envoy watches for files that are renamed.
        new.replace(directory / f"{name}.json")


def tls_context(directory: Path, tls: Tls) -> dict[str, Any]:
    """The fields of Envoy's DownstreamTlsContext, which name the files of `directory`."""

    def secret(name: str) -> dict[str, Any]:
        return {"name": name, "sds_config": {"path_config_source": {"path": str(directory / f"{name}.json")}}}

    context = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [secret(_SERVER)]}
    if tls.client_ca:
        context["validation_context_sds_secret_config"] = secret(_CLIENTS)
    return {"common_tls_context": context, "require_client_certificate": tls.require_client_certificate}


def _secrets(tls: Tls) -> dict[str, dict[str, Any]]:
    """Certificates and keys by file, each a response of Envoy's SDS."""
    contents: dict[str, dict[str, Any]] = {
        _SERVER: {
            "tls_certificate": {
                "certificate_chain": _data_source(tls.certificate),
                "private_key": _data_source(tls.key),
            }
        }
    }
    if tls.client_ca:
        contents[_CLIENTS] = {"validation_context": {"trusted_ca": _data_source(tls.client_ca)}}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {name: {"resources": [{"@type": kind, "name": name, **content}]} for name, content in contents.items()}


def _data_source(pem: bytes) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(pem).decode()}
