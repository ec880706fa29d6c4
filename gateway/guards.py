"""What guards the port — TLS, authentication, limits — put together from the settings and kept up to date."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.auth.client_certificates import ClientCertificates
from gateway.auth.keys import KeyRing, KeysFileError
from gateway.auth.principal import EVERYONE
from gateway.certificates import CertificateError, Certificates
from gateway.interceptors.admission import Admission
from gateway.interceptors.authentication import Authentication, NoAuthentication
from gateway.interceptors.call_limits import CallLimits
from gateway.limits import Store
from gateway.limits.memory import MemoryStore
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.settings.guards import AuthSettings, LimitSettings

if TYPE_CHECKING:
    from gateway.auth.tokens import TokenVerifier

log = structlog.get_logger("gateway")


class Guards:
    """The guards of one gateway. KeysFileError or CertificateError names a file that cannot be used."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        auth = settings.auth
        self.certificates = Certificates.of(settings.tls)
        self._keys = KeyRing(auth.keys_file) if auth.enabled and auth.keys_file else None
        self._tokens = _token_verifier(auth) if auth.enabled else None
        self._store = _limit_store(settings.limits, metrics)
        self.authentication = (
            Authentication(self._keys, self._tokens, _client_certificates(auth))
            if auth.enabled
            else NoAuthentication(EVERYONE)
        )
        self.call_limits = CallLimits(settings.limits, self._store, metrics)
        self.admission = Admission(settings.limits, metrics)
        self._metrics = metrics
        self._publish_expiries()

    def start(self) -> None:
        """Begins what needs the event loop."""
        if self._tokens:
            self._tokens.start()

    async def close(self) -> None:
        """Ends what is under way."""
        if self._tokens:
            await self._tokens.close()
        await self._store.close()

    def replace(self, old: Settings, new: Settings) -> None:
        """Takes the new settings, as far as they may change without a restart."""
        self.call_limits.replace(new.limits)
        self.admission.replace(new.limits)
        if isinstance(self.authentication, Authentication) and new.auth.enabled:
            self.authentication.certificates = _client_certificates(new.auth)
            if old.auth.issuers != new.auth.issuers:
                # What the old one fetches ends by itself.
                self.authentication.tokens = self._tokens = _token_verifier(new.auth)
                self.start()

    async def watch(self, interval: float) -> None:
        """Reads keys and certificates again when their files change, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                if self._keys and self._keys.reload():
                    self._publish_expiries()
                    log.info("keys reloaded")
            except KeysFileError as error:
                log.error("keys file unreadable, the keys stay as they were", message=str(error))  # noqa: TRY400  # the message says it all
            try:
                if self.certificates and self.certificates.reload():
                    self._publish_expiries()
                    log.info("certificates reloaded")
            except (CertificateError, OSError) as error:
                log.error("certificates stay as they were", message=str(error))  # noqa: TRY400  # the message says it all

    def _publish_expiries(self) -> None:
        if self.certificates:
            self._metrics.certificate_expiry.set(self.certificates.expiry)
        self._metrics.key_expiry.clear()
        for client, expiry in (self._keys.expiries() if self._keys else {}).items():
            self._metrics.key_expiry.labels(client).set(expiry)


def _client_certificates(settings: AuthSettings) -> ClientCertificates | None:
    return ClientCertificates(settings.certificates) if settings.certificates else None


def _token_verifier(settings: AuthSettings) -> "TokenVerifier | None":
    if not settings.issuers:
        return None
    # Only where there are issuers: the cryptography takes 20 MB and a fifth of a second to import.
    from gateway.auth.tokens import TokenVerifier  # noqa: PLC0415

    return TokenVerifier(settings.issuers)


def _limit_store(settings: LimitSettings, metrics: Metrics) -> Store:
    if settings.redis_url is None:
        return MemoryStore()
    # Only where there is one: the library takes 40 MB and half a second to import.
    from gateway.limits.redis import RedisStore  # noqa: PLC0415

    url = settings.redis_url.get_secret_value()
    return RedisStore(url, metrics, timeout=settings.redis_timeout, when_down=settings.redis_down)
