"""Certificates for 127.0.0.1 that nobody but a test trusts, and the configuration file that names them."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import text_format

from serving.wire import tensorflow_serving_pb2 as tfs


class Identity(NamedTuple):
    """A private key and its self-signed certificate, in PEM."""

    key: bytes
    certificate: bytes


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def certificate(common_name: str = "", *alternatives: x509.GeneralName) -> Identity:
    """A new identity, good for an hour; without names it is that of a server on 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = alternatives if common_name else (LOOPBACK,)
    common_name = common_name or f"test {x509.random_serial_number()}"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(pem, signed.public_bytes(serialization.Encoding.PEM))


def write_ssl_config(directory: Path, identity: Identity, **fields: Any) -> Path:
    """An SSLConfig file of a server's identity and further fields."""
    config = tfs.SSLConfig(server_key=identity.key.decode(), server_cert=identity.certificate.decode(), **fields)
    file = directory / "ssl.config"
    file.write_text(text_format.MessageToString(config))
    return file
