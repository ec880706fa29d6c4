"""tensorgate.requests"""

import array
from pathlib import Path

import numpy as np
import pytest

from tensorgate.requests import pixels, row, to_instance, to_tensor
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2


def test_images(tmp_path: Path) -> None:
    """Bytes and paths are images."""
    file = tmp_path / "a.png"
    file.write_bytes(b"png")
    assert to_instance(b"png").image == to_instance(file).image == b"png"


def test_message() -> None:
    """A message is taken as it is."""
    message = pb.Instance(image=b"x")
    assert to_instance(message) is message


def test_arrays() -> None:
    """Whatever has a buffer is a tensor, numpy or not, and in C order whatever its own."""
    assert to_instance(array.array("f", [1, 2])).tensor == to_tensor(np.array([1, 2], np.float32))
    turned = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert to_tensor(turned).data == np.ascontiguousarray(turned).tobytes()
    assert list(to_tensor(turned).shape) == [3, 2]
    assert to_tensor(np.array([1], np.int64)).dtype == tensor_pb2.DATA_TYPE_INT64
    assert to_tensor(np.array([1], np.intp)).dtype == to_tensor(np.array([1], np.longlong)).dtype


def test_named() -> None:
    """A mapping is tensors by name."""
    instance = to_instance({"a": np.zeros(2, np.uint8)})
    assert instance.tensors.tensors["a"].dtype == tensor_pb2.DATA_TYPE_UINT8


def test_pixels() -> None:
    """Pixels keep height, width and channels."""
    message = pixels(np.zeros((2, 3, 4), np.uint8)).pixels
    assert (message.height, message.width, message.channels, len(message.data)) == (2, 3, 4, 24)
    assert pixels(np.zeros((2, 3), np.uint8)).pixels.channels == 1


@pytest.mark.parametrize("value", [object(), "text", 3, [1, 2], np.array(["a"]), np.zeros(1, complex)])
def test_not_an_instance(value: object) -> None:
    """Anything else is a TypeError before anything is sent."""
    with pytest.raises(TypeError):
        to_instance(value)


@pytest.mark.parametrize("value", [np.zeros((2, 2)), np.zeros(4, np.uint8)])
def test_not_pixels(value: np.ndarray) -> None:
    """Pixels are uint8 with two or three dimensions."""
    with pytest.raises(TypeError, match="uint8 pixels"):
        pixels(value)


def test_rows() -> None:
    """A mapping of plain values is a row; `row` takes numpy's values too, and nothing else."""
    values = {"age": 3, "name": "x", "new": True, "height": 1.5, "none": None}
    message = to_instance(values)
    assert dict(message.row) == values
    assert message.row.fields["none"].WhichOneof("kind") == "null_value"
    assert row({"age": np.int64(3), "name": "x", "new": np.bool_(True), "height": 1.5, "none": None}) == message
    with pytest.raises(TypeError, match="column 'a': expected a number"):
        row({"a": [1]})
