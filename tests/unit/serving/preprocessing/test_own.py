"""serving.preprocessing.own, and pipelines with such steps"""

import sys

import numpy as np
import pytest

from serving.contract import ContractError
from serving.preprocessing import InputError, Step, StepError, StepFailedError, build
from tests.fakes import digits, own_steps

MODULE = own_steps.__name__
DECODE, GRAY = Step(name="decode"), Step(name="grayscale")
IMAGE = digits.encode(digits.band(4))


def own(name: str, **parameters: object) -> Step:
    """A step out of the tests' module."""
    return Step(name=f"{MODULE}:{name}", parameters=parameters)


@pytest.mark.parametrize("allowed", [MODULE, f"{MODULE}:crop_border"])
def test_a_function_with_parameters(allowed: str) -> None:
    """Allowed by itself or with its module, it runs between the steps that there are."""
    steps = [DECODE, own("crop_border", width=2), GRAY]
    whole = build([DECODE, GRAY])(IMAGE)
    np.testing.assert_array_equal(build(steps, [allowed])(IMAGE), whole[2:-2, 2:-2])


def test_a_class_with_parameters() -> None:
    """A pydantic model is made once and called for each input."""
    made = build([DECODE, GRAY, own("Brighten", by=255)], [MODULE])(IMAGE)
    assert made.min() == 255


def test_a_step_of_a_table() -> None:
    """It gets columns and gives columns; one row that it fails on does not fail the others."""
    steps = [
        Step(name="select", parameters={"columns": [{"name": "income", "type": "number"}]}),
        own("logarithm", columns=["income"]),
        Step(name="assemble", parameters={"columns": ["income"]}),
    ]
    good, bad = build(steps, [MODULE]).from_rows([{"income": np.e**2}, {"income": 0}])
    assert isinstance(good, np.ndarray)
    assert good.tolist() == [2]
    assert isinstance(bad, StepFailedError)
    assert str(bad) == f"the step {MODULE}:logarithm failed: ArithmeticError"


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (own("crop_border", width=-1), "width: Input should be greater than or equal to 0"),
        (own("crop_border", height=1), "height: no such setting"),
        (own("Brighten"), "by: Field required"),
        (own("Brighten", by=1, of=2), "of: no such setting"),
        (own("missing"), "cannot be imported: AttributeError"),
        (own("system"), "not defined in"),
        (own("CONSTANT"), "expected a function"),
        (own("Plain"), "expected a function, or a pydantic model"),
        (own("Silent"), "expected one positional argument"),
        (own("nothing"), "expected one positional argument"),
        (own("anything"), "parameters as keyword-only ones"),
        (own("untyped"), "its parameters cannot be read"),
        (own("crop border"), "expected module:function"),
        (Step(name="no.such.module:step"), "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_is_no_step_is_refused_when_the_pipeline_is_built(step: Step, text: str) -> None:
    """By its place and name."""
    with pytest.raises(StepError, match=text) as caught:
        build([DECODE, step], [MODULE, "no.such.module"])
    assert str(caught.value).startswith(f"step 1 ({step.name}): ")


def test_nothing_is_imported_that_is_not_allowed() -> None:
    """A contract comes from a model store, and must not choose what code runs."""
    for name in ("antigravity:fly", "serving.preprocessing.own:load"):
        with pytest.raises(StepError, match=r"not allowed here.*preprocessing\.allowed_steps"):
            build([DECODE, Step(name=name)], [MODULE])
    assert "antigravity" not in sys.modules


def test_what_a_step_raises_is_kept_from_the_caller() -> None:
    """An InputError is what it says; anything else is the cause of a StepFailedError, for the log."""
    with pytest.raises(InputError, match="nothing is left of 280×280"):
        build([DECODE, own("crop_border", width=999)], [MODULE])(IMAGE)
    black = digits.encode(np.zeros((8, 8), np.uint8))
    with pytest.raises(StepFailedError, match=r"failed: RuntimeError$") as caught:
        build([DECODE, own("fail_on_black")], [MODULE])(black)
    assert "secret" in str(caught.value.__cause__)
    with pytest.raises(StepFailedError, match="returned list"):
        build([DECODE, own("to_list")], [MODULE])(IMAGE)


def test_many_images() -> None:
    """One that a step of one's own fails on does not fail the others."""
    black = np.zeros((280, 280, 1), np.uint8)
    bad, good = build([DECODE, own("fail_on_black"), GRAY], [MODULE]).many([black, IMAGE])
    assert isinstance(bad, StepFailedError)
    assert isinstance(good, np.ndarray)


def test_a_contract_with_steps_of_ones_own_is_tried() -> None:
    """They are refused where golden vectors are missing, or show another result."""
    steps = (DECODE, own("crop_border"), *digits.STEPS[1:])
    contract = digits.contract(preprocessing=steps)
    with pytest.raises(ContractError, match="not allowed here"):
        contract.pipeline()
    contract.replay_golden(contract.pipeline([MODULE]))
    with pytest.raises(ContractError, match="need golden vectors"):
        digits.contract(preprocessing=steps, golden=()).pipeline([MODULE])
    for name, text in (("to_list", "returned list"), ("nothing", "positional")):
        wrong = digits.contract(preprocessing=(*steps, own(name)))
        with pytest.raises(ContractError, match=text):
            wrong.replay_golden(wrong.pipeline([MODULE]))
