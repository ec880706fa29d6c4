"""Images by digest, with a `docker` that keeps a registry in a directory."""

import json
import os
from pathlib import Path

import pytest

from deploy import images
from deploy.__main__ import main
from deploy.commands import DeployError

# Manifests are files named as references; what is built has the Dockerfile's name for content.
DOCKER = r"""#!/usr/bin/env python3
import hashlib, json, os, pathlib, sys
arguments = sys.argv[1:]
registry = pathlib.Path(os.environ["REGISTRY"])
def file(reference): return registry / reference.replace("/", "_")
def digest(content): return "sha256:" + hashlib.sha256(content.encode()).hexdigest()
def option(name): return arguments[arguments.index(name) + 1]
def store(reference, content):
    file(reference).write_text(content)
    file(reference.rsplit(":", 1)[0] + "@" + digest(content)).write_text(content)
match arguments[1:3]:
    case ["build", *_]:
        assert {"--push", "--sbom=true", "--provenance=mode=max"} <= set(arguments)
        assert pathlib.Path(option("--file")).is_file()
        store(option("--tag"), option("--file"))
    case ["imagetools", "create"]:
        assert "--prefer-index=false" in arguments
        store(option("--tag"), file(arguments[-1]).read_text() + os.environ.get("SPOILT", ""))
    case ["imagetools", "inspect"]:
        print(json.dumps({"digest": digest(file(arguments[3]).read_text())}))
    case _:
        sys.exit(9)
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of a fake `docker` on the path."""
    programs, registry = tmp_path / "bin", tmp_path / "registry"
    programs.mkdir()
    registry.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("REGISTRY", str(registry))
    return registry


def test_built_once_and_copied(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives in another registry has the digest of what was built; if not, it is not used."""
    built, copied = tmp_path / "built.json", tmp_path / "copied.json"
    assert main(["images", "--registry", "ghcr.io/Owner/Repository", "--tag", "abc", "--out", str(built)]) == 0
    assert main(["images", "--registry", "eu.pkg.dev/p/digits", "--source", str(built), "--out", str(copied)]) == 0
    here, there = images.load(built), images.load(copied)
    assert here.keys() == {"gateway", "server"}
    for name, reference in here.items():
        assert reference.startswith(f"ghcr.io/owner/repository/{name}@sha256:")
        assert there[name] == reference.replace("ghcr.io/owner/repository", "eu.pkg.dev/p/digits")
    monkeypatch.setenv("SPOILT", "!")
    with pytest.raises(DeployError, match="another digest"):
        images.copy(here, "elsewhere")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"gateway": "a"}', "expected an object with gateway and server"),
        (json.dumps({"gateway": "a:latest", "server": "b"}), "gateway is 'a:latest'; expected NAME@sha256:DIGEST"),
    ],
)
def test_files_that_cannot_be_used(content: str | None, said: str, tmp_path: Path) -> None:
    """The message says what was expected."""
    path = tmp_path / "images.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DeployError, match=said):
        images.load(path)


def test_a_program_that_fails_or_is_not_there(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name and status are the message."""
    with pytest.raises(DeployError, match="docker buildx ended with status 1"):
        images.by_digest("nobody/built", "this")
    monkeypatch.setenv("PATH", str(registry))
    with pytest.raises(DeployError, match="docker cannot be run: No such file"):
        images.by_digest("a", "b")
