"""What Dockerfiles say of the containers that run what they build."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from string import Template


@dataclass
class Image:
    """What a container begins with."""

    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    entry_point: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    """What was copied from the repository, by its place."""


def named(name: str, context: Path) -> Image:
    """An image that is not built here; in the place of TensorFlow Serving's is the repository's embedded server."""
    if not name.startswith("tensorflow/serving:"):
        return Image()
    server = "python -m serving.embedded --host=0.0.0.0 --port=8500 --rest_api_port=8501"
    # As /usr/bin/tf_serving_entrypoint.sh has it.
    model = '--model_name="$MODEL_NAME" --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME"'
    return Image(
        environment={"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models", "PYTHONPATH": str(context)},
        entry_point=["bash", "-c", f'exec {server} {model} "$@"', "bash"],
    )


def built(dockerfile: Path, context: Path) -> Image:
    """What the last stage makes of the image that it begins with; FileNotFoundError if it copies what is not there."""
    image, arguments = Image(), {}
    for name, rest in _instructions(dockerfile):
        match name:
            case "ARG":
                key, _, arguments[key] = rest.partition("=")
            case "FROM":
                image = named(Template(rest.split()[0]).substitute(arguments), context)
            case "ENV":
                image.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                image.directory = rest
            case "COPY":
                image.files |= _copied(rest, image.directory, context)
            case "HEALTHCHECK":
                image.health = json.loads(rest[rest.index("[") :])
            case "ENTRYPOINT":
                image.entry_point, image.command = json.loads(rest), []
            case "CMD":
                image.command = json.loads(rest)
    return image


def _instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    for line in dockerfile.read_text().replace("\\\n", "").splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest


def _copied(arguments: str, directory: str, context: Path) -> dict[str, Path]:
    *sources, target = arguments.split()
    if sources[0].startswith("--from="):
        return {}
    inside = target.endswith("/")
    return {
        str(PurePosixPath(directory, target, Path(source).name if inside else "")): (context / source).resolve(
            strict=True
        )
        for source in sources
    }
