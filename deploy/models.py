"""Model versions from one store to another, by fsspec: directories, gs:// and s3://."""

from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from deploy.commands import DeployError

# A version without it is none yet (docs/adr/0011).
_LAST = "saved_model.pb"
_SAMPLES = "assets.extra/samples"


def newest(store: str, model: str) -> int:
    """The highest version of a model; DeployError if there is none."""
    system, base = _open(f"{store.rstrip('/')}/{model}")
    names = [PurePosixPath(path).name for path in (system.ls(base, detail=False) if system.exists(base) else [])]
    whole = [int(name) for name in names if name.isdecimal() and system.exists(f"{base}/{name}/{_LAST}")]
    if not whole:
        raise DeployError(f"{store} has no version of {model}")
    return max(whole)


def copy(source: str, target: str, model: str, version: int) -> bool:
    """Copies a version, `saved_model.pb` last; False if it is there already, DeployError if another is."""
    there, from_base = _open(f"{source.rstrip('/')}/{model}/{version}")
    here, to_base = _open(f"{target.rstrip('/')}/{model}/{version}")
    if not there.exists(f"{from_base}/{_LAST}"):
        raise DeployError(f"{source} has no version {version} of {model}")
    if here.exists(f"{to_base}/{_LAST}"):
        if here.cat_file(f"{to_base}/{_LAST}") != there.cat_file(f"{from_base}/{_LAST}"):
            raise DeployError(f"{target} has another version {version} of {model}; nothing is overwritten")
        return False
    files = [path[len(from_base) + 1 :] for path in there.find(from_base)]
    for file in sorted(files, key=lambda file: (file == _LAST, file)):
        _transfer(there, f"{from_base}/{file}", here, f"{to_base}/{file}")
    return True


def fetch_samples(store: str, model: str, directory: Path) -> None:
    """Brings the images that the trainer keeps beside the newest version of a model to this machine."""
    system, base = _open(f"{store.rstrip('/')}/{model}/{newest(store, model)}/{_SAMPLES}")
    found = system.find(base) if system.exists(base) else []
    if not found:
        raise DeployError(f"{base} has no samples to call with")
    local = fsspec.filesystem("file")
    for path in found:
        _transfer(system, path, local, f"{directory.resolve()}/{PurePosixPath(path).name}")


def _transfer(source: Any, path: str, target: Any, to: str) -> None:
    target.makedirs(str(PurePosixPath(to).parent), exist_ok=True)
    with source.open(path, "rb") as reader, target.open(to, "wb") as writer:
        while chunk := reader.read(1 << 20):
            writer.write(chunk)


def _open(url: str) -> tuple[Any, str]:
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DeployError(f"{url} cannot be opened: {error}") from error
    return system, path.rstrip("/")
