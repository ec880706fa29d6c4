"""serving.transport.asgi.peer"""

from typing import Any

import pytest

from serving.transport.asgi.peer import auth_context, identity, peer

TLS: dict[str, Any] = {"extensions": {"tls": {}}}


@pytest.mark.parametrize(
    ("client", "text"),
    [(("127.0.0.1", 80), "ipv4:127.0.0.1:80"), (("::1", 80), "ipv6:[::1]:80"), (None, "unix:")],
)
def test_peer(client: Any, text: str) -> None:
    """Addresses are written as gRPC does."""
    assert peer({"client": client}) == text


def test_auth_context() -> None:
    """What the host says of a verified certificate is found under gRPC's keys; alternative names come first."""
    certificate = (
        b'Hash=ab;Cert="-----BEGIN%20X-----%0Ab";Subject="O=a\\"b,CN=me\\, too";URI=spiffe://x;DNS=a.b;DNS=c.d'
    )
    scope = TLS | {"headers": [(b"x-forwarded-client-cert", certificate)]}
    context = auth_context(scope)
    assert context == {
        "transport_security_type": [b"ssl"],
        "x509_common_name": [b"me, too"],
        "x509_subject_alternative_name": [b"spiffe://x", b"a.b", b"c.d"],
        "x509_pem_cert": [b"-----BEGIN X-----\nb"],
    }
    assert identity(context) == ("x509_subject_alternative_name", [b"spiffe://x", b"a.b", b"c.d"])


def test_no_certificate() -> None:
    """Without a certificate there is no identity, and in plain text nothing at all, whatever a header claims."""
    assert auth_context(TLS | {"headers": []}) == {"transport_security_type": [b"ssl"]}
    assert identity({"transport_security_type": [b"ssl"]}) == (None, None)
    assert auth_context({"extensions": {}, "headers": [(b"x-forwarded-client-cert", b"Subject=CN=me")]}) == {}
