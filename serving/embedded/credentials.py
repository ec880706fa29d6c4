"""TLS from the file of --ssl_config_file: an SSLConfig in protobuf's text format, with PEM texts."""

from pathlib import Path

import grpc

from serving.embedded.text_proto import ConfigFileError, read_text_proto
from serving.transport.envoy.options import Tls
from serving.wire import tensorflow_serving_pb2 as tfs


def server_credentials(path: Path) -> grpc.ServerCredentials:
    """The server's key and certificate; with `client_verify` only clients whose certificate `custom_ca` signed.

    Raises ConfigFileError if one of them is missing; a PEM text that is none shows when the server listens.
    """
    config = _read(path)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def envoy_tls(path: Path) -> Tls:
    """The same for Envoy."""
    config = _read(path)
    return Tls(
        key=config.server_key.encode(),
        certificate=config.server_cert.encode(),
        client_ca=config.custom_ca.encode() or None,
        require_client_certificate=config.client_verify,
    )


def _read(path: Path) -> tfs.SSLConfig:
    config = read_text_proto(path, tfs.SSLConfig())
    if not config.server_key or not config.server_cert:
        raise ConfigFileError(f"{path}: server_key and server_cert are required")
    if config.client_verify and not config.custom_ca:
        raise ConfigFileError(f"{path}: client_verify needs custom_ca")
    return config
