import numpy as np
import pytest
from PIL import Image

from serving.preprocessing import build
from trainer import data
from trainer.data import folder
from trainer.errors import TrainingError


@pytest.fixture
def images(tmp_path):
    """Two folders of two images each, and what else lies about in such folders."""
    for number, label in enumerate(("cat", "dog")):
        (tmp_path / label).mkdir()
        for name in ("b.png", "a.JPG"):
            Image.fromarray(np.full((4, 6), 10 * number, np.uint8)).save(tmp_path / label / name)
    (tmp_path / "cat" / "notes.txt").write_text("")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README").write_text("")
    return tmp_path


def test_folders_are_classes(images, caplog):
    """Each folder's image files are of the class that it is named for, in the order of names; the rest is left out."""
    caplog.set_level("INFO", "trainer")
    dataset = folder.load(images)
    assert (dataset.labels, dataset.targets.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    assert [path.name for path in dataset.inputs] == ["a.JPG", "b.png"] * 2
    assert dataset.balance == "cat 2, dog 2"
    assert "1 files are no images by their names" in caplog.text


def test_the_digest_is_of_the_files_contents(images):
    """A file's name does not count, each of its bytes does."""
    before = folder.load(images).digest
    (images / "cat" / "b.png").rename(images / "cat" / "c.png")
    assert folder.load(images).digest == before
    with (images / "cat" / "c.png").open("ab") as file:
        file.write(b"\0")
    assert folder.load(images).digest != before


def test_tensors_are_made_of_the_encoded_files(images, steps):
    """Training sees what servers make of the same bytes."""
    dataset = folder.load(images)
    pipeline = build(steps)
    tensors = data.tensors(pipeline, dataset)
    assert tensors.shape == (4, 4, 6)
    assert np.array_equal(tensors[0], pipeline((images / "cat" / "a.JPG").read_bytes()))
    assert dataset.encoded(0) == ((images / "cat" / "a.JPG").read_bytes(), ".JPG")


def test_a_damaged_image_is_named(images, steps):
    """Which of the files cannot be decoded is said."""
    (images / "dog" / "b.png").write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"dog/b.png: the bytes are not an image"):
        data.tensors(build(steps), folder.load(images))


def test_an_empty_folder_is_refused(images):
    """A class without images is a mistake, and so is a folder that is not there."""
    (images / "eel").mkdir()
    with pytest.raises(TrainingError, match="eel holds no images"):
        folder.load(images)
    with pytest.raises(TrainingError, match="nowhere cannot be read: No such file"):
        folder.load(images / "nowhere")


def test_one_class_is_refused(images):
    """So is a single class: there is nothing to tell apart."""
    (images / "dog").rename(images / ".dog")
    with pytest.raises(TrainingError, match="each of 2 classes or more, found 1"):
        folder.load(images)
