"""`python -m gateway`: serves; `… keys` makes, lists, rotates, revokes API keys; `… rollout` is an operator's hand;
`… replay` sends captured requests again, `… report` says how good and how far off they were; `… check-config` looks at
settings.
"""

import sys
from collections.abc import Callable

import yaml

from gateway import settings_page
from gateway.auth.commands import run as run_keys
from gateway.configuration import ConfigurationError
from gateway.settings import Settings
from gateway.workers.member import Member, load
from serving import event_loop, grpc_core
from serving.transport.envoy.options import EnvoyOptions

USAGE = 2
# What Envoy loads.
INSIDE_ENVOY = "gateway.inside_envoy:app"


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for and returns the exit status."""
    grpc_core.configure()
    if arguments and (command := _COMMANDS.get(arguments[0])):
        return command(arguments[1:])
    checking = arguments[:1] == ["check-config"]
    if checking:
        arguments = arguments[1:]
    try:
        settings = load(arguments)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)
        return 1 if checking else USAGE
    if checking:
        from gateway.bootstrap import check  # noqa: PLC0415  # most of the start, and of no use to the others

        return check(settings)
    return _serve(settings, arguments)


def _serve(settings: Settings, arguments: list[str]) -> int:
    if settings.workers > 1 and Member.current() is None and not settings.print_envoy_config:
        from gateway.workers.supervisor import supervise  # noqa: PLC0415  # of no use to the workers

        return supervise(settings, arguments)
    if settings.print_envoy_config or settings.transport == "envoy":
        return _become_envoy(settings, arguments)
    from gateway.bootstrap import run  # noqa: PLC0415  # most of the start, and of no use to what becomes Envoy

    return event_loop.run(run(settings, lambda: load(arguments)))


def _run_rollout(arguments: list[str]) -> int:
    from gateway.rollout.commands import run  # noqa: PLC0415  # gRPC, which what becomes Envoy must not load

    return run(arguments)


def _replay(arguments: list[str]) -> int:
    from gateway.replay.commands import run  # noqa: PLC0415  # serving has no use for it

    return run(arguments)


def _report(arguments: list[str]) -> int:
    from gateway.report.commands import run  # noqa: PLC0415  # serving has no use for it

    return run(arguments)


def _print_settings(_arguments: list[str]) -> int:
    print(settings_page.page(), end="")
    return 0


# What is done instead of serving.
_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "keys": run_keys,
    "rollout": _run_rollout,
    "replay": _replay,
    "report": _report,
    "settings": _print_settings,
}


def _become_envoy(settings: Settings, arguments: list[str]) -> int:
    """Returns only if that cannot be, or if Envoy's configuration is all that is asked for."""
    from gateway.certificates import CertificateError, Certificates  # noqa: PLC0415  # which imports gRPC

    try:
        from serving.transport.envoy import launch  # noqa: PLC0415  # not on every platform
    except ImportError as error:
        print(f"gateway: {error}: the transport envoy needs pyvoy; grpc.aio needs nothing", file=sys.stderr)
        return 1
    options = EnvoyOptions(
        **settings.envoy.model_dump(), shared=settings.workers > 1, json_log=settings.log.format == "json"
    )
    try:
        certificates = Certificates.of(settings.tls)
        tls = certificates.envoy if certificates else None
        if not settings.print_envoy_config:
            launch.launch(INSIDE_ENVOY, arguments, [settings.listen], options, tls)
        told = launch.configuration(INSIDE_ENVOY, [settings.listen], options, tls)
        print(yaml.safe_dump(told, sort_keys=False), end="")
    except (OSError, CertificateError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
