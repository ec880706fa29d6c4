"""`python -m tests.fakes.docker …`: as much of `docker` as .ci/ asks for, on a machine without containers.

What a container would run runs as a process here, with the commands, environment, ports, volumes and checks of health
that Dockerfiles and compose.yaml give it. An option that is not known here is an error. DOCKER_ENGINE names a directory
for what belongs to containers, and for volumes.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.docker import dockerfile
from tests.fakes.docker.containers import VOLUMES, Container, Start

# Seconds for a container to be healthy.
PATIENCE = 60.0
REST = {"nargs": argparse.REMAINDER}
NUMBER = {"type": int, "required": True}


def build(options: argparse.Namespace) -> None:
    """`docker build`, as far as the Dockerfile can be read."""
    dockerfile.built(options.file, options.context.absolute())
    print(f"naming to docker.io/{options.tag}")


def run(options: argparse.Namespace) -> None:
    """`docker run --detach`."""
    environment = dict(variable.split("=", 1) for variable in options.env)
    image = dockerfile.named(options.image, Path.cwd())
    container, _ = Start(image, (), environment, options.volume, options.publish).process(detached=True)
    print(container.id)


def services() -> dict[str, dict[str, Any]]:
    """The entries of compose.yaml."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(Path("compose.yaml").read_text())["services"]
    return found


def service(name: str, command: Sequence[str] = ()) -> Start:
    """How an entry of compose.yaml is started."""
    entry = services()[name]
    context = Path(entry["build"]["context"]).absolute()
    # A variable without a value is this process's, if it has it.
    variables = {key: value or os.environ.get(key) for key, value in entry.get("environment", {}).items()}
    return Start(
        dockerfile.built(context / entry["build"]["dockerfile"], context),
        command or entry.get("command", []),
        {key: value for key, value in variables.items() if value is not None},
        entry.get("volumes", []),
    )


def compose_run(options: argparse.Namespace) -> None:
    """`docker compose run --rm`."""
    container, process = service(options.service, options.command).process(detached=False)
    status = process.wait()
    container.remove()
    sys.exit(status)


def up(name: str) -> None:
    """Starts a service after those that it depends on, and waits for its health."""
    with suppress(LookupError):
        Container.of(name)
        return
    entry = services()[name]
    for needed in entry.get("depends_on", {}):
        up(needed)
    container, process = replace(service(name), ports=entry["ports"], service=name).process(detached=True)
    deadline = time.monotonic() + PATIENCE
    while not container.healthy:
        if process.poll() is not None or time.monotonic() > deadline:
            raise LookupError(f"container {name}-1 is unhealthy or has exited")
        time.sleep(0.2)


def compose_up(options: argparse.Namespace) -> None:
    """`docker compose up --detach --wait`."""
    for name in options.services:
        up(name)


def compose_logs(options: argparse.Namespace) -> None:
    """`docker compose logs`."""
    for name in options.services:
        with suppress(LookupError):
            for line in Container.of(name).log(options.tail):
                print(f"{name}-1  | {line}")


def compose_down(options: argparse.Namespace) -> None:
    """`docker compose down`."""
    for container in Container.all():
        if container.known["service"]:
            container.remove()
    if options.volumes:
        shutil.rmtree(VOLUMES, ignore_errors=True)


def parser() -> argparse.ArgumentParser:
    """The commands, each with those of its options that are known here."""
    docker = argparse.ArgumentParser(prog="docker", allow_abbrev=False)
    commands = docker.add_subparsers(required=True)
    compose = commands.add_parser("compose", allow_abbrev=False).add_subparsers(required=True)

    def add(
        group: Any, name: str, act: Callable[[argparse.Namespace], object], /, *flags: str, **arguments: Any
    ) -> argparse.ArgumentParser:
        """A command with flags that it must have here."""
        command: argparse.ArgumentParser = group.add_parser(name, allow_abbrev=False)
        command.set_defaults(act=act)
        for flag in flags:
            command.add_argument(flag, action="store_true", required=True)
        for argument, kind in arguments.items():
            command.add_argument(argument, **kind)
        return command

    building = add(commands, "build", build, context={"type": Path})
    building.add_argument("--file", type=Path, required=True)
    building.add_argument("--tag", required=True)
    running = add(commands, "run", run, "--detach", image={})
    for option in ("--publish", "--volume", "--env"):
        running.add_argument(option, action="append", default=[])
    add(commands, "port", lambda each: print(Container(each.id).port(each.port)), id={}, port={"type": int})
    logs = add(commands, "logs", lambda each: print(*Container(each.id).log(each.tail), sep="\n"), id={})
    logs.add_argument("--tail", **NUMBER)
    add(commands, "rm", lambda each: Container(each.id).remove(), "--force", id={})

    add(compose, "run", compose_run, "--build", "--rm", "--no-deps", service={}, command=REST)
    add(compose, "up", compose_up, "--build", "--detach", "--wait", services={"nargs": "+"})
    add(compose, "port", lambda each: print(Container.of(each.name).port(each.port)), name={}, port={"type": int})
    add(compose, "logs", compose_logs, services={"nargs": "+"}).add_argument("--tail", **NUMBER)
    add(compose, "down", compose_down).add_argument("--volumes", action="store_true")
    return docker


if __name__ == "__main__":
    chosen = parser().parse_args()
    try:
        chosen.act(chosen)
    except (LookupError, OSError) as error:
        sys.exit(f"docker: {error}")
