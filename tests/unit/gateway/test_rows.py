"""gateway.rows"""

from typing import Any

import numpy as np
import pytest

from gateway.backend import Signature
from gateway.errors import GatewayError
from gateway.instances import TensorStack, to_row
from gateway.rows import of_tensors, stacked
from tests.fakes.backend import Spec, signature

SHAPE = (28, 28)


@pytest.mark.parametrize(
    ("inputs", "fits"),
    [
        ({"image": (np.float32, (-1, *SHAPE))}, True),
        ({"image": (np.float32, (-1, -1, 28))}, True),
        ({"image": (np.float32, None)}, True),
        ({"image": (np.float32, (-1, 28))}, False),
        ({"image": (np.uint8, (-1, *SHAPE))}, False),
        ({"image": (np.float32, SHAPE)}, False),
        ({"image": (np.float32, (-1, *SHAPE)), "mask": (np.float32, (-1, *SHAPE))}, False),
        ({}, False),
    ],
    ids=["fits", "open size", "open rank", "rank", "type", "no batch", "two inputs", "no inputs"],
)
def test_of_tensors(inputs: dict[str, Spec], fits: bool) -> None:
    """Tensors that are alike become the rows that each of them would become, or have the same error."""

    def each(signature: Signature) -> list[Any]:
        try:
            return [to_row(one, signature) for one in stack]
        except GatewayError as error:
            return [str(error)] * len(stack)

    stack = TensorStack(np.arange(3 * 28 * 28, dtype=np.float32).reshape(3, *SHAPE))
    made, expected = of_tensors(stack, signature("s", inputs, {})), each(signature("s", inputs, {}))
    assert len(made) == len(stack)
    if not fits:
        assert [str(error) for error in made] == expected
        return
    np.testing.assert_equal(list(made), expected)
    np.testing.assert_equal(stacked(made), stacked(expected))  # type: ignore[arg-type]  # no errors among them
