"""The images of a service: built once, then copied from registry to registry with their digests unchanged."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from deploy.commands import DeployError, run

Images = Mapping[str, str]
"""Full references, each by digest, under the names that the roots' variable `images` has."""

DOCKERFILES = {"gateway": "gateway/Dockerfile", "server": "serving/store.Dockerfile"}
ROOT = Path(__file__).resolve().parent.parent
_REFERENCE = re.compile(r"[^@\s:]+(?::[0-9]+/[^@\s:]+)?@sha256:[0-9a-f]{64}")


def build(registry: str, tag: str) -> Images:
    """Builds and pushes every image as `<registry>/<name>:<tag>`, with an SBOM and the build's provenance attached."""
    found = {}
    # A repository's name has no capitals; a GitHub user's may.
    for name, dockerfile in DOCKERFILES.items():
        target = f"{registry.lower()}/{name}"
        attested = ["--sbom=true", "--provenance=mode=max"]
        run(
            ["docker", "buildx", "build", "--push", *attested, "--file", dockerfile, "--tag", f"{target}:{tag}", "."],
            cwd=ROOT,
        )
        found[name] = by_digest(target, tag)
    return found


def copy(images: Images, registry: str) -> Images:
    """Copies images to `<registry>/<name>`; DeployError if one arrives as something else."""
    found = {}
    for name, source in images.items():
        target, (_, digest) = f"{registry}/{name}", source.split("@")
        tag = digest.removeprefix("sha256:")[:12]
        # As it is, attestations and all, or its digest would be another.
        run(["docker", "buildx", "imagetools", "create", "--prefer-index=false", "--tag", f"{target}:{tag}", source])
        found[name] = by_digest(target, tag)
        if found[name] != f"{target}@{digest}":
            raise DeployError(f"{source} arrived as {found[name]}: another digest")
    return found


def by_digest(target: str, tag: str) -> str:
    """The reference that cannot change of what `<target>:<tag>` is now."""
    described = run(["docker", "buildx", "imagetools", "inspect", f"{target}:{tag}", "--format", "{{json .Manifest}}"])
    return f"{target}@{json.loads(described)['digest']}"


def load(path: Path) -> Images:
    """The images in a file that `save` wrote; DeployError if one is missing, or has no digest."""
    try:
        images = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DeployError(f"{path} cannot be read: {error}") from error
    if not isinstance(images, dict) or images.keys() != DOCKERFILES.keys():
        raise DeployError(f"{path}: expected an object with {' and '.join(DOCKERFILES)}")
    for name, reference in images.items():
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise DeployError(f"{path}: {name} is {reference!r}; expected NAME@sha256:DIGEST")
    return images


def save(images: Images, path: Path) -> None:
    """Writes them for `load`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(images, indent=2) + "\n", "utf-8")
