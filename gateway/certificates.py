"""The gateway's own certificate: read again when its files change, for connections from then on."""

import ssl
from collections.abc import Callable
from pathlib import Path

import grpc

from gateway.settings.guards import TlsSettings
from gateway.watched_files import WatchedFiles
from serving.transport.envoy.options import Tls


class CertificateError(Exception):
    """The certificate, its key or the certificates of clients' authorities cannot be used."""


class Certificates:
    """Certificate, key and, for mutual TLS, the authorities whose certificates clients must have."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._files = WatchedFiles(path for path in (certificate, key, client_ca) if path)
        self._http: list[ssl.SSLContext] = []
        self.on_change: Callable[[Tls], None] = lambda _tls: None
        """Called with what `envoy` now is."""
        self.envoy = self._load()
        """For Envoy."""

    @classmethod
    def of(cls, settings: TlsSettings) -> "Certificates | None":
        """Those that the settings name; None if there are none. CertificateError says which cannot be used."""
        if settings.certificate_file is None or settings.key_file is None:
            return None
        return cls(settings.certificate_file, settings.key_file, settings.client_ca_file)

    @property
    def expiry(self) -> float:
        """When the certificate expires, in seconds since 1970."""
        from cryptography import x509  # noqa: PLC0415  # 20 MB, and only of use with TLS

        return x509.load_pem_x509_certificate(self.envoy.certificate).not_valid_after_utc.timestamp()

    def reload(self) -> bool:
        """Reads the files if they have changed; True if they were read. CertificateError leaves all as it was."""
        if not self._files.changed():
            return False
        self.envoy = self._load()
        for context in self._http:
            context.load_cert_chain(self._certificate, self._key)
        self.on_change(self.envoy)
        return True

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For gRPC; with authorities, clients must have a certificate of theirs."""
        # gRPC asks at every handshake, on a thread of its own; connections that stand are not touched.
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=self._client_ca is not None
        )

    def http_context(self) -> ssl.SSLContext:
        """For HTTPS; clients need no certificate, since those who look at metrics and health have none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        self._http.append(context)
        return context

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        tls = self.envoy
        return grpc.ssl_server_certificate_configuration([(tls.key, tls.certificate)], root_certificates=tls.client_ca)

    def _load(self) -> Tls:
        try:
            # Checks what gRPC would only complain of at a handshake: whether the files hold what they should, and fit.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key, password=_no_password)
            if self._client_ca:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self._client_ca)
            return Tls(
                key=self._key.read_bytes(),
                certificate=self._certificate.read_bytes(),
                client_ca=self._client_ca.read_bytes() if self._client_ca else None,
                require_client_certificate=self._client_ca is not None,
            )
        except (OSError, ValueError) as error:
            files = ", ".join(str(path) for path in (self._certificate, self._key, self._client_ca) if path)
            raise CertificateError(f"certificate and key cannot be used: {error} ({files})") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; expected one without a password")
