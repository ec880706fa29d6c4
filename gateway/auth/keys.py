"""API keys: made here, kept as hashes in a file, looked up on every call.

A key is `tg_<id>_<secret>`, the secret 256 random bits: guessing is hopeless, so a plain SHA-256 of the key is as good
as a slow hash and costs a microsecond. The file is JSON, mode 0600, replaced atomically and re-read when it changes.
"""

import hashlib
import hmac
import math
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.principal import Principal
from gateway.errors import Unauthenticated
from gateway.settings.guards import Scope
from gateway.watched_files import Stamp, stamp
from serving.validation import problems

_PREFIX = "tg"
_PARTS = 3
_HELP = "expected the metadata `authorization: Bearer <API key>` or `x-api-key: <API key>`"


class KeysFileError(Exception):
    """The keys file cannot be read."""


class Key(BaseModel):
    """One key as the file keeps it: never the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    client: str
    """Whose it is; several keys may share a client, so that one can replace another."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Scope]
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeysFile(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = Field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "KeysFile":
        """The content of the file at `path`; KeysFileError says what is wrong with it."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise KeysFileError(f"keys file {path}: {error.strerror}") from error
        except ValidationError as error:
            raise KeysFileError(f"keys file {path}: {problems(error)}") from error

    def save(self, path: Path) -> None:
        """Replaces the file at `path` atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self.model_dump_json(indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise


def create(client: str, scopes: frozenset[str], expires: datetime | None = None) -> tuple[str, Key]:
    """A new key: the text that its owner gets, once, and the record that is kept."""
    key_id = secrets.token_hex(4)
    text = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    record = Key(
        id=key_id, client=client, sha256=_hash(text), scopes=scopes, created=datetime.now(UTC), expires=expires
    )
    return text, record


class KeyRing:
    """The keys in force, looked up by what a caller presents."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp | None = None
        self._keys: dict[str, tuple[Key, Principal]] = {}
        self._presented: dict[str, tuple[Key, Principal]] = {}
        """Keys that were found valid, by their text: looking there costs a tenth of hashing. All that an attacker could
        time is a table whose hash nobody outside knows.
        """
        self.reload()

    def reload(self) -> bool:
        """Reads the file if it has changed; True if it was read. KeysFileError leaves the keys as they are."""
        try:
            found = stamp(self._path)
        except OSError as error:
            raise KeysFileError(f"keys file {self._path}: {error.strerror}") from error
        if found == self._stamp:
            return False
        keys = KeysFile.load(self._path).keys
        self._keys = {key.id: (key, Principal(key.client, key.scopes)) for key in keys}
        self._presented = {}
        self._stamp = found
        return True

    def expiries(self) -> dict[str, float]:
        """When each client's last key expires, in seconds since 1970; infinity for one that never does."""
        last: dict[str, float] = {}
        for key, _ in self._keys.values():
            expiry = key.expires.timestamp() if key.expires else math.inf
            last[key.client] = max(expiry, last.get(key.client, 0.0))
        return last

    def authenticate(self, presented: str) -> Principal:
        """Whose key is presented, in constant time for its secret; Unauthenticated if nobody's."""
        found = self._presented.get(presented)
        if found is None:
            found = self._presented[presented] = self._found(presented)
        key, principal = found
        if key.expires is not None and key.expired:
            raise Unauthenticated(
                f"the API key expired at {key.expires:%Y-%m-%d %H:%M} UTC", reason="CREDENTIAL_EXPIRED"
            )
        return principal

    def _found(self, presented: str) -> tuple[Key, Principal]:
        parts = presented.split("_", _PARTS - 1)
        found = self._keys.get(parts[1]) if len(parts) == _PARTS and parts[0] == _PREFIX else None
        if found is None or not hmac.compare_digest(_hash(presented), found[0].sha256):
            raise Unauthenticated(f"the API key is not valid; {_HELP}", reason="CREDENTIAL_INVALID")
        return found


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
