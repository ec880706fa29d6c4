"""Client certificates: whom a connection's certificate, which TLS has checked, stands for."""

from collections.abc import Iterable, Mapping

from gateway.auth.principal import Principal
from gateway.errors import Unauthenticated
from gateway.settings.guards import CertificateSettings

AuthContext = Mapping[str, Iterable[bytes]]
"""What gRPC knows of the peer, e.g. `x509_common_name`."""


class ClientCertificates:
    """Principals by name in the certificate."""

    def __init__(self, settings: Mapping[str, CertificateSettings]) -> None:
        self._principals = {name: Principal(entry.client, entry.scopes) for name, entry in settings.items()}

    def authenticate(self, context: AuthContext) -> Principal | None:
        """Whose certificate it is; None without one, Unauthenticated if it is of nobody that is known."""
        names = _names(context, "x509_subject_alternative_name")
        if not names:
            # A common name counts only where there is no other, as in TLS everywhere (RFC 9525).
            names = _names(context, "x509_common_name")
        if not names:
            return None
        for name in names:
            if name in self._principals:
                return self._principals[name]
        raise Unauthenticated("the client certificate is of nobody that is known here", reason="CREDENTIAL_INVALID")


def _names(context: AuthContext, key: str) -> list[str]:
    return [name.decode("utf-8", "replace") for name in context.get(key, ())]
