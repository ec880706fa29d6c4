"""How a load reaches its target."""

from argparse import Namespace
from pathlib import Path

import grpc

from tensorgate.channel import OPTIONS, Target, metadata
from tensorgate.target_arguments import named


def connect(address: str, options: Namespace) -> grpc.Channel:
    """A channel that shares no connection with others; encrypted by `tls`, or if there is a `ca_file` to trust."""
    settings = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    credentials = Target(address, Path(options.ca_file) if options.ca_file else options.tls).credentials()
    return (
        grpc.secure_channel(address, credentials, settings) if credentials else grpc.insecure_channel(address, settings)
    )


def headers(options: Namespace) -> tuple[tuple[str, str], ...]:
    """What every call carries: the key, and what a platform in front of the gateway may want besides."""
    return metadata(options.key, named(options.metadata.splitlines()))
