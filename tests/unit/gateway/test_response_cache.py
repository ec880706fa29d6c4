"""gateway.response_cache"""

import numpy as np
import pytest

from gateway.backend import Tensors
from gateway.catalog import Servable
from gateway.response_cache import OVERHEAD, ResponseCache
from tests.fakes.backend import IMAGES, signature

FIRST = Servable("digits", 1, {"serving_default": IMAGES})


def image(value: float, dtype: type = np.float32) -> Tensors:
    """One image of one value."""
    return {"image": np.full((1, 4), value, dtype)}


def test_same_input_same_key() -> None:
    """Equal inputs of one version and signature share a key; whatever differs has its own."""
    cache = ResponseCache(1000)
    other = signature("other", {}, {})
    again = Servable("digits", 1, {"serving_default": IMAGES})
    keys = [
        cache.key(FIRST, IMAGES, image(1)),
        cache.key(FIRST, IMAGES, image(2)),
        cache.key(FIRST, IMAGES, image(1, np.int32)),
        cache.key(FIRST, IMAGES, {"picture": image(1)["image"]}),
        cache.key(FIRST, IMAGES, {"image": image(1)["image"].reshape(4, 1)}),
        cache.key(FIRST, other, image(1)),
        # The same version, loaded again.
        cache.key(again, IMAGES, image(1)),
    ]
    assert len(set(keys)) == len(keys)
    assert cache.key(FIRST, IMAGES, image(1)) == keys[0]
    # However the array lies in memory.
    strided = np.full((1, 8), 1, np.float32)[:, ::2]
    assert cache.key(FIRST, IMAGES, {"image": strided}) == keys[0]
    assert cache.key(FIRST, IMAGES, {"text": np.array([b"a"], object)}) is None


def test_kept_by_itself() -> None:
    """What is kept is a copy of its own, which nobody can change."""
    cache, batch = ResponseCache(10_000), np.arange(1000.0)
    key = cache.key(FIRST, IMAGES, image(1))
    assert key is not None
    assert cache.get(key) is None
    cache.put(key, {"p": batch[:2]})
    batch[:] = 7
    kept = cache.get(key)
    assert kept is not None
    assert kept["p"].tolist() == [0, 1]
    assert kept["p"].base is None
    with pytest.raises(ValueError, match="read-only"):
        kept["p"][0] = 1


def test_bound() -> None:
    """The bytes kept have a bound; what was asked for last stays, and what is too large alone is not kept."""
    cache = ResponseCache(3 * (OVERHEAD + 800))
    keys = [cache.key(FIRST, IMAGES, image(number)) for number in range(5)]
    for key in keys[:3]:
        assert key is not None
        cache.put(key, {"p": np.zeros(100)})
    assert keys[0] is not None
    cache.get(keys[0])
    assert keys[3] is not None
    cache.put(keys[3], {"p": np.zeros(100)})
    assert [key is not None and cache.get(key) is not None for key in keys] == [True, False, True, True, False]
    assert keys[4] is not None
    cache.put(keys[4], {"p": np.zeros(10_000)})
    cache.put(keys[4], {"p": np.array([b"x" * 10_000], object)})
    assert cache.get(keys[4]) is None
    assert cache.get(keys[0]) is not None
