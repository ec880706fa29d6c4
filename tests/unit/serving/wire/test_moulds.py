"""serving.wire.moulds: what is known of requests, and how much memory it may take."""

from collections.abc import Sequence

import numpy as np
import pytest

from serving.wire import moulds
from serving.wire import open_inference_pb2 as oip
from serving.wire.moulds import Moulds

Said = tuple[str, Sequence[slice]]


def message(name: str, payloads: Sequence[bytes]) -> oip.ModelInferRequest:
    """A request with payloads in their order."""
    return oip.ModelInferRequest(model_name=name, raw_input_contents=payloads)


def learn(known: Moulds[Said], name: str, payloads: Sequence[bytes]) -> bytes:
    """Has a request learnt, and returns it."""
    raw = message(name, payloads).SerializeToString()
    known.learn(raw, payloads, lambda places: (name, places), lambda others: message(name, list(others)))
    return raw


def found(known: Moulds[Said], raw: bytes) -> tuple[str, list[bytes]]:
    """What a known request says, and its payloads."""
    what = known.find(raw)
    assert what is not None
    said, places = what
    return said, [raw[place] for place in places]


def test_parsing_is_spared() -> None:
    """A request like one before but for its payloads is known, and where they are."""
    known: Moulds[Said] = Moulds()
    others = [(b"xyz" * 6)[:16], (b"xyz" * 7)[:20]]
    second = message("m", others).SerializeToString()
    assert known.find(second) is None
    learn(known, "m", [bytes(16), bytes(20)])
    assert found(known, second) == ("m", others)
    assert known.find(second[:-1]) is None
    assert known.find(message("n", others).SerializeToString()) is None


@pytest.mark.parametrize("payloads", [[], [bytes(15)]], ids=["none", "short"])
def test_not_worth_it(payloads: list[bytes]) -> None:
    """What has no payloads, or short ones, is parsed each time."""
    known: Moulds[Said] = Moulds()
    assert known.find(learn(known, "m", payloads)) is None


def test_wants() -> None:
    """To learn costs more than to parse: a request is learnt if one as long came lately, and a very long one never."""
    known: Moulds[Said] = Moulds()
    assert [known.wants(bytes(size)) for size in (100, 101, 100, 101, 1 << 21, 1 << 21)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    for size in range(200, 200 + 1023):
        assert not known.wants(bytes(size))
    assert known.wants(bytes(101))
    assert not known.wants(bytes(100))


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests of ever new lengths, and of one length and ever new names, the latest are known."""
    monkeypatch.setattr(moulds, "_MAX_KNOWN", 1 << 20)
    known: Moulds[Said] = Moulds()
    several = [learn(known, f"{name:04}", [bytes(100)]) for name in range(6)]
    assert [known.find(raw) is not None for raw in several] == [False, False, True, True, True, True]
    many = [learn(known, "m", [bytes(size)]) for size in range(200, 1400)]
    assert known.find(several[-1]) is None
    assert known.find(many[0]) is None
    assert found(known, many[-1]) == ("m", [bytes(1399)])
    assert 0.4 < np.mean([known.find(raw) is not None for raw in many]) < 0.8
