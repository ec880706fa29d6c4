"""A folder of one's own images: one folder for each class, named for it."""

import logging
from pathlib import Path

import numpy as np

from trainer.data.dataset import Dataset
from trainer.errors import TrainingError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
_log = logging.getLogger("trainer")


def load(folder: Path) -> Dataset:
    """The image files in the folders in `folder`, by name; other files are left out, hidden ones too.

    TrainingError if there are not two classes, or one is empty. Files are read later, one by one.
    """
    try:
        classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        files = [sorted(path for path in each.iterdir() if not path.name.startswith(".")) for each in classes]
    except OSError as error:
        raise TrainingError(f"{error.filename} cannot be read: {error.strerror}") from error
    if len(classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise TrainingError(
            f"{folder}: expected a folder of images for each of 2 classes or more, found {len(classes)}"
        )
    images = [[path for path in each if path.suffix.lower() in _SUFFIXES] for each in files]
    for path, found in zip(classes, images, strict=True):
        if not found:
            raise TrainingError(f"{path} holds no images ({', '.join(sorted(_SUFFIXES))})")
    count = sum(map(len, images))
    if left_out := sum(map(len, files)) - count:
        _log.info("%s: %d files are no images by their names and left out", folder, left_out)
    inputs = np.empty(count, object)
    inputs[:] = [path for each in images for path in each]
    targets = np.repeat(np.arange(len(classes)), [len(each) for each in images])
    return Dataset(inputs, targets, f"{folder}, {count:,} images", tuple(path.name for path in classes))
