"""Containers that are processes of this machine, and as much of a container as the commands in them can tell."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tests.fakes.docker.dockerfile import Image

CONTAINERS, VOLUMES = (Path(os.environ["DOCKER_ENGINE"]) / name for name in ("containers", "volumes"))


@dataclass(frozen=True)
class Container:
    """One that was started and not removed."""

    id: str

    @classmethod
    def all(cls) -> "list[Container]":
        """All of them."""
        return [cls(path.parent.name) for path in CONTAINERS.glob("*/known.json")]

    @classmethod
    def of(cls, service: str) -> "Container":
        """The one of a service of compose.yaml."""
        for container in cls.all():
            if container.known["service"] == service:
                return container
        raise LookupError(f"service {service} is not running")

    @property
    def directory(self) -> Path:
        """What belongs to it."""
        return CONTAINERS / self.id

    @property
    def known(self) -> dict[str, Any]:
        """Its address, ports that are published, service, check of health and process."""
        found: dict[str, Any] = json.loads((self.directory / "known.json").read_text())
        return found

    @property
    def healthy(self) -> bool:
        """What the check of its health says now."""
        return subprocess.run(self.known["health"], capture_output=True, check=False).returncode == 0

    def port(self, number: int) -> str:
        """Where a published port is reached."""
        if number not in self.known["ports"]:
            raise LookupError(f"no public port '{number}/tcp' published for {self.id}")
        return f"{self.known['address']}:{number}"

    def log(self, lines: int) -> list[str]:
        """The last lines of what it wrote."""
        return (self.directory / "log").read_text(errors="replace").splitlines()[-lines:]

    def remove(self) -> None:
        """Ends its processes and forgets it."""
        with suppress(ProcessLookupError):
            os.killpg(self.known["process"], signal.SIGKILL)
        shutil.rmtree(self.directory)


@dataclass(frozen=True)
class Start:
    """What a container is started with."""

    image: Image
    command: Sequence[str]
    environment: Mapping[str, str]
    volumes: Sequence[str]
    """As Docker and compose.yaml have them: SOURCE:PLACE, with or without `:ro`."""
    ports: Sequence[str] = ()
    """Those that are published."""
    service: str = ""

    def process(self, *, detached: bool) -> "tuple[Container, subprocess.Popen[bytes]]":
        """The container and its process, which writes a log if it is detached, else where we do.

        The container has a loopback address of its own, where it listens on the very ports that it would, and a
        directory with its files. These replace what is written of addresses, neighbours and places.
        """
        container = Container(secrets.token_hex(6))
        root = container.directory / "root"
        directory = root / self.image.directory.lstrip("/")
        temporary = container.directory / "tmp"
        for each in (directory, temporary):
            each.mkdir(parents=True)
        address = ".".join(["127", *(str(1 + secrets.randbelow(250)) for _ in range(3))])
        neighbours = {each.known["service"]: each.known["address"] for each in Container.all()}
        places = {place: source for source, place in map(_volume, self.volumes)} | self.image.files
        tops = "|".join({PurePosixPath(place).parts[1] for place in places}) or "(?!)"

        def here(text: str) -> str:
            text = re.sub(rf"(?<![\w./-])/(?=({tops})\b)", f"{root}/", text)
            text = re.sub(r"(?<![\d.])(0\.0\.0\.0|127\.0\.0\.1)(?![\d.])", address, text)
            return re.sub(r"\b([a-z]+)(?=:\d)", lambda found: neighbours.get(found[0], found[0]), text)

        for place, source in places.items():
            target = root / place.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_file():
                target.write_text(here(source.read_text()))
            else:
                target.symlink_to(source)
        own = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ} | {"TMPDIR": str(temporary)}
        variables = self.image.environment | self.environment
        with (container.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                list(map(here, [*self.image.entry_point, *(self.command or self.image.command)])),
                env=own | {name: here(value) for name, value in variables.items()},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log if detached else None,
                stderr=log if detached else None,
                start_new_session=True,
            )
        known = {
            "address": address,
            "ports": [int(port.rpartition(":")[2]) for port in self.ports],
            "service": self.service,
            "health": list(map(here, self.image.health)),
            "process": process.pid,
        }
        (container.directory / "known.json").write_text(json.dumps(known))
        return container, process


def _volume(text: str) -> tuple[Path, str]:
    source, place = text.split(":")[:2]
    path = Path(source).absolute() if "/" in source else VOLUMES / source
    path.mkdir(parents=True, exist_ok=True)
    return path, place
