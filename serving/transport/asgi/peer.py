"""Who is at the other end, as gRPC writes it."""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

# A field of x-forwarded-client-cert: a name, and a value that may be in quotes; backslashes are the subject's own.
_FIELD = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)')
_COMMON_NAME = re.compile(r"(?:^|,)\s*CN=((?:[^,\\]|\\.)*)")
_TRANSPORT = "transport_security_type"
_NAME, _NAMES, _CERTIFICATE = "x509_common_name", "x509_subject_alternative_name", "x509_pem_cert"


def peer(scope: MutableMapping[str, Any]) -> str:
    """The caller's address, e.g. ipv4:127.0.0.1:4242, ipv6:[::1]:4242 or unix:."""
    client = scope.get("client")
    if not client:
        return "unix:"
    host, port = client
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def auth_context(scope: MutableMapping[str, Any]) -> dict[str, list[bytes]]:
    """What TLS says of the caller under gRPC's keys; empty for plain text.

    The certificate comes from x-forwarded-client-cert, which the host sets itself and takes from nobody.
    """
    if "tls" not in scope.get("extensions", {}):
        return {}
    context: dict[str, list[bytes]] = {_TRANSPORT: [b"ssl"]}
    header = next((value for name, value in scope["headers"] if name == b"x-forwarded-client-cert"), b"")
    for name, quoted in _FIELD.findall(header.decode("latin-1")):
        value = quoted.strip('"')
        if name in ("DNS", "URI"):
            context.setdefault(_NAMES, []).append(value.encode("latin-1"))
        elif name == "Cert":
            context[_CERTIFICATE] = [unquote_to_bytes(value)]
        elif name == "Subject" and (matched := _COMMON_NAME.search(value)):
            context[_NAME] = [re.sub(r"\\(.)", r"\1", matched[1]).encode("latin-1")]
    return context


def identity(context: Mapping[str, Iterable[bytes]]) -> tuple[str | None, Iterable[bytes] | None]:
    """The key under which the caller's names are, and the names: those of the certificate, else its common name."""
    for key in (_NAMES, _NAME):
        if key in context:
            return key, context[key]
    return None, None
