"""`python -m serving.embedded`: flags first, since TensorFlow takes seconds to import, then all the rest."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from serving import event_loop, garbage, grpc_core
from serving.embedded.flags import Flags, parse
from serving.native_stderr import native_stderr_dropped
from serving.transport.addresses import AddressTakenError
from serving.transport.envoy.options import EnvoyOptions

logger = logging.getLogger(__name__)


def main() -> int:
    """Runs the server; returns the exit status, 0 after a signal to stop, 1 if it cannot begin."""
    grpc_core.configure()
    flags = parse()
    if flags.transport == "envoy":
        return _become_envoy(flags)
    # Until the server takes these signals over nothing is in flight, and neither import nor load can be cut short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    return event_loop.run(run(flags))


async def run(flags: Flags) -> int:
    """Imports TensorFlow and serves; returns the exit status."""
    _begin_log()
    # TensorFlow talks of GPUs and its own past; what goes wrong with a model is raised, and logged here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Importing TensorFlow imports Keras, for half of the time and to no use here, unless it is told to use the old one.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

    from serving.embedded.servable import Servable  # noqa: PLC0415  # likewise
    from serving.embedded.server import configured, serve  # noqa: PLC0415  # likewise
    from serving.embedded.text_proto import ConfigFileError  # noqa: PLC0415  # so that --help answers at once
    from serving.wire.errors import ServingError  # noqa: PLC0415  # likewise

    try:
        # A typo is to be told before TensorFlow takes its time.
        configured(flags)
    except ConfigFileError as error:
        logger.error("%s", error)  # noqa: TRY400  # the error says it all
        return 1

    with native_stderr_dropped():
        from serving.embedded import saved_model  # noqa: PLC0415  # after the lines above

    # Before models are loaded: theirs is collected when they go.
    garbage.settle()
    load: Callable[[Path], Servable] = partial(
        saved_model.load,
        intra_op_threads=flags.intra_op_threads,
        inter_op_threads=flags.inter_op_threads,
    )
    try:
        await serve(flags, load, saved_model.records, saved_model.RecordFile)
    except (AddressTakenError, ConfigFileError, ServingError) as error:
        logger.error("%s", error)  # noqa: TRY400  # the error says it all
        return 1
    return 0


def _begin_log() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )


def _become_envoy(flags: Flags) -> int:
    """Returns only if that cannot be."""
    _begin_log()
    from serving.embedded.credentials import envoy_tls  # noqa: PLC0415  # likewise
    from serving.embedded.text_proto import ConfigFileError  # noqa: PLC0415  # so that --help answers at once

    try:
        from serving.transport.envoy.launch import launch  # noqa: PLC0415  # pyvoy is not for every platform
    except ImportError as error:
        logger.error("%s: the transport envoy needs pyvoy; grpc.aio needs nothing", error)  # noqa: TRY400  # likewise
        return 1
    try:
        tls = envoy_tls(flags.ssl_config_file) if flags.ssl_config_file else None
        # Inside it is not to be found out again.
        arguments = [*sys.argv[1:], "--transport=envoy"]
        launch("serving.embedded.inside_envoy:app", arguments, flags.addresses, EnvoyOptions(json_log=False), tls)
    except (OSError, ConfigFileError) as error:
        logger.error("%s", error)  # noqa: TRY400  # the error says it all
        return 1


if __name__ == "__main__":
    sys.exit(main())
