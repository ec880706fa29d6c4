"""gateway.certificates"""

from pathlib import Path

import pytest

from gateway.certificates import CertificateError, Certificates
from serving.transport.envoy.options import Tls
from tests.fakes.tls import Identity, certificate


def write(directory: Path, identity: Identity) -> tuple[Path, Path]:
    """Certificate and key as files."""
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(identity.certificate)
    files[1].write_bytes(identity.key)
    return files


def test_reload(tmp_path: Path) -> None:
    """Files are read again when they have changed, and only then."""
    certificates = Certificates(*write(tmp_path, certificate()))
    changes: list[Tls] = []
    certificates.on_change = changes.append
    assert not certificates.reload()
    new = certificate()
    write(tmp_path, new)
    assert certificates.reload()
    assert not certificates.reload()
    assert changes == [Tls(key=new.key, certificate=new.certificate)]


@pytest.mark.parametrize("content", [b"", b"nonsense", None, certificate().key])
def test_unusable(tmp_path: Path, content: bytes | None) -> None:
    """A file that is gone, holds something else or does not fit is named, once, and changes nothing."""
    files = write(tmp_path, certificate())
    certificates = Certificates(*files)
    before = certificates.envoy
    if content is None:
        files[1].unlink()
    else:
        files[1].write_bytes(content)
    with pytest.raises(CertificateError, match=r"key\.pem"):
        certificates.reload()
    assert certificates.envoy is before
    assert not certificates.reload()
    with pytest.raises(CertificateError):
        Certificates(*files)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_unusable_authorities(tmp_path: Path, content: bytes) -> None:
    """Authorities that are none are an error, not an authority that nobody can satisfy."""
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        Certificates(*write(tmp_path, certificate()), tmp_path / "ca.pem")
