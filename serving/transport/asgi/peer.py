"""Who is at the other end, as gRPC writes it."""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

# Of x-forwarded-client-cert.
_CERT = re.compile(rb'(?:^|;)Cert="([^"]*)"')
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
    header = next((value for name, value in scope["headers"] if name == b"x-forwarded-client-cert"), b"")
    certificate = _CERT.search(header)
    return {_TRANSPORT: [b"ssl"], **(_described(certificate[1]) if certificate else {})}


@lru_cache(1024)
def _described(quoted: bytes) -> Mapping[str, list[bytes]]:
    """The names in a certificate that TLS has verified, as grpcio lists them."""
    from cryptography import x509  # noqa: PLC0415  # 20 MB, and only of use with client certificates

    pem = unquote_to_bytes(quoted)
    certificate = x509.load_pem_x509_certificate(pem)
    context = {_CERTIFICATE: [pem]}
    for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[:1]:
        value = attribute.value
        context[_NAME] = [value.encode() if isinstance(value, str) else value]
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
            names = [str(name.value).encode() for name in extension.value if isinstance(name, kinds)]
            if names:
                context[_NAMES] = names
    return context


def identity(context: Mapping[str, Iterable[bytes]]) -> tuple[str | None, Iterable[bytes] | None]:
    """The key under which the caller's names are, and the names: those of the certificate, else its common name."""
    for key in (_NAMES, _NAME):
        if key in context:
            return key, context[key]
    return None, None
