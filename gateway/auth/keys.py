"""API keys: made here, kept as hashes in a file, looked up on every call.

A key is `tg_<id>_<secret>`, the secret 256 random bits: guessing is hopeless, so a plain SHA-256 of the key is as good
as a slow hash and costs a microsecond. The file is JSON, mode 0600, replaced atomically and re-read when it changes.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.principal import Principal
from gateway.errors import Unauthenticated
from serving.validation import problems

_PREFIX = "tg"
_PARTS = 3
_HELP = "expected the metadata `authorization: Bearer <API key>`"


class KeysFileError(Exception):
    """The keys file cannot be read."""


class Key(BaseModel):
    """One key as the file keeps it: never the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    client: str
    """Whose it is; several keys may share a client, so that one can replace another."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Annotated[str, Field(pattern=r"^predict:(\*|[^\s:*]+)$")]]
    created: AwareDatetime
    expires: AwareDatetime | None = None


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
        self._stamp = (0, 0, 0)
        self._keys: dict[str, Key] = {}
        self.reload()

    def reload(self) -> bool:
        """Reads the file if it has changed; True if it was read. KeysFileError leaves the keys as they are."""
        try:
            stat = self._path.stat()
        except OSError as error:
            raise KeysFileError(f"keys file {self._path}: {error.strerror}") from error
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp == self._stamp:
            return False
        self._keys = {key.id: key for key in KeysFile.load(self._path).keys}
        self._stamp = stamp
        return True

    def authenticate(self, presented: str | None) -> Principal:
        """Whose key is presented, in constant time for its secret; Unauthenticated if nobody's."""
        if not presented:
            raise Unauthenticated(f"no API key; {_HELP}")
        parts = presented.split("_", _PARTS - 1)
        key = self._keys.get(parts[1]) if len(parts) == _PARTS and parts[0] == _PREFIX else None
        if key is None or not hmac.compare_digest(_hash(presented), key.sha256):
            raise Unauthenticated(f"the API key is not valid; {_HELP}", reason="CREDENTIAL_INVALID")
        if key.expires is not None and key.expires <= datetime.now(UTC):
            raise Unauthenticated(
                f"the API key expired at {key.expires:%Y-%m-%d %H:%M} UTC", reason="CREDENTIAL_EXPIRED"
            )
        return Principal(key.client, key.scopes)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
