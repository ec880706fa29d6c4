"""serving.contract"""

import json

import numpy as np
import pytest

from serving.contract import Contract, ContractError, Golden, Histogram, Reference
from tests.fakes import digits


def test_round_trip() -> None:
    """A contract survives its own JSON, and one that leaves out what it does not have."""
    values = Histogram(edges=(0, 1), counts=(5,))
    for reference in (Reference(instances=5), Reference(instances=5, values=values)):
        contract = digits.contract(reference=reference)
        assert Contract.parse(contract.model_dump_json()) == contract
        assert Contract.parse(contract.model_dump_json(exclude_none=True)) == contract


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"unknown": 1}, "unknown"),
        ({"input": {"name": "x", "dtype": "complex64", "shape": [1]}}, "input.dtype"),
        ({"input": {"name": "x", "dtype": "float32", "shape": [0]}}, "input.shape"),
        ({"postprocessing": {"task": "classification", "output": "p"}}, "labels"),
        ({"postprocessing": {"task": "classification", "labels": ["a"]}}, "output"),
        ({"postprocessing": {"task": "regression", "output": "p", "labels": ["a"]}}, "labels"),
        ({"postprocessing": {"task": "classification", "output": "p", "labels": ["a", "a"]}}, "repeats"),
        ({"golden": [{"encoded": "!", "tensor": "", "tolerance": 0}]}, "golden.0.encoded"),
        ({"golden": [{"encoded": "", "tensor": "", "tolerance": -1}]}, "tolerance"),
        ({"reference": {"instances": 1, "confidence": {"edges": [0, 0], "counts": [1]}}}, "ascend"),
        ({"reference": {"instances": 1, "confidence": {"edges": [0], "counts": [1]}}}, "one edge more"),
    ],
)
def test_invalid(change: dict[str, object], text: str) -> None:
    """A contract that makes no sense is refused, and the message names the field."""
    raw = json.loads(digits.contract().model_dump_json()) | change
    with pytest.raises(ContractError, match=text):
        Contract.parse(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", b"\xff"])
def test_not_json(text: str | bytes) -> None:
    """What is no JSON object is no contract."""
    with pytest.raises(ContractError):
        Contract.parse(text)


def replay(golden: Golden) -> None:
    """Replays one golden vector."""
    contract = digits.contract(golden=(golden,))
    contract.replay_golden(contract.pipeline())


def test_golden() -> None:
    """A golden vector holds within its tolerance and not beyond; NaN never does."""
    good = digits.contract().golden[0]
    tensor = np.frombuffer(good.tensor, "<f4")
    replay(good)
    near, far, broken = tensor + 0.01, tensor + 0.03, np.full_like(tensor, np.nan)
    replay(good.model_copy(update={"tensor": near.tobytes()}))
    for wrong in (far, broken):
        with pytest.raises(ContractError, match="golden vector 0 differs by"):
            replay(good.model_copy(update={"tensor": wrong.tobytes()}))


def test_golden_of_another_shape() -> None:
    """A golden vector that is no tensor of the input, or no image, is refused."""
    good = digits.contract().golden[0]
    with pytest.raises(ContractError, match="is no float32"):
        replay(good.model_copy(update={"tensor": b"1234"}))
    with pytest.raises(ContractError, match="cannot be preprocessed"):
        replay(good.model_copy(update={"encoded": b"x"}))
    small = digits.contract(preprocessing=digits.STEPS[:-2])
    with pytest.raises(ContractError, match=r"preprocessing made uint8 \[256, 256\]"):
        small.replay_golden(small.pipeline())


def test_histogram() -> None:
    """Edges and counts fit together."""
    assert Histogram(edges=(0, 0.5, 1), counts=(3, 4)).counts == (3, 4)
