"""serving.transport.asgi.peer"""

from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509

from serving.transport.asgi.peer import auth_context, identity, peer
from tests.fakes.tls import Identity, certificate

TLS: dict[str, Any] = {"extensions": {"tls": {}}}


@pytest.mark.parametrize(
    ("client", "text"),
    [(("127.0.0.1", 80), "ipv4:127.0.0.1:80"), (("::1", 80), "ipv6:[::1]:80"), (None, "unix:")],
)
def test_peer(client: Any, text: str) -> None:
    """Addresses are written as gRPC does."""
    assert peer({"client": client}) == text


def forwarded(identity: Identity) -> dict[str, Any]:
    """The scope of a call whose connection has this certificate, as Envoy forwards it."""
    value = f'Hash=ab;Cert="{quote(identity.certificate, safe="")}"'
    return TLS | {"headers": [(b"x-forwarded-client-cert", value.encode())]}


def test_auth_context() -> None:
    """What the host says of a verified certificate is found under gRPC's keys; alternative names come first."""
    names = [
        x509.UniformResourceIdentifier("spiffe://x"),
        x509.DNSName("a.b"),
        x509.RFC822Name("me@a.b"),
        x509.IPAddress(ip_address("::1")),
    ]
    own = certificate("me, too", *names)
    context = auth_context(forwarded(own))
    listed = [b"spiffe://x", b"a.b", b"me@a.b", b"::1"]
    assert context == {
        "transport_security_type": [b"ssl"],
        "x509_common_name": [b"me, too"],
        "x509_subject_alternative_name": listed,
        "x509_pem_cert": [own.certificate],
    }
    assert identity(context) == ("x509_subject_alternative_name", listed)


@pytest.mark.parametrize("name", ["größer", "x,CN=admin", 'x";CN=admin', "x+CN=admin\\, y"])
def test_common_name(name: str) -> None:
    """A common name is taken as it is, whatever it holds; it is the identity of who has no other name."""
    context = auth_context(forwarded(certificate(name)))
    assert context["x509_common_name"] == [name.encode()]
    assert identity(context) == ("x509_common_name", [name.encode()])


def test_no_certificate() -> None:
    """Without a certificate there is no identity, and in plain text nothing at all, whatever a header claims."""
    assert auth_context(TLS | {"headers": []}) == {"transport_security_type": [b"ssl"]}
    assert identity({"transport_security_type": [b"ssl"]}) == (None, None)
    assert auth_context({"extensions": {}, "headers": [(b"x-forwarded-client-cert", b"Subject=CN=me")]}) == {}
