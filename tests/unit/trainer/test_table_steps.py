import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from serving.preprocessing import Step, StepError, build, own_steps
from serving.preprocessing.table import Column
from tests.fakes import own_steps as fake_steps
from trainer import table_steps
from trainer.errors import TrainingError

SCHEMA = (
    Column(name="age", type="number", nullable=True),
    Column(name="income", type="number"),
    Column(name="city", type="string", nullable=True),
    Column(name="member", type="boolean", nullable=True),
)
ROWS = [
    {"age": 10, "income": 5.0, "city": "Rome", "member": True},
    {"age": None, "income": 7.0, "city": "Oslo", "member": None},
    {"age": 20.0, "income": 7.0, "city": None, "member": True},
    {"age": 60, "income": 9.0, "city": "Rome", "member": False},
    {"age": 10, "income": 1.0, "city": "Bonn", "member": False},
]
SELECT, ASSEMBLE = Step(name="select"), Step(name="assemble")


def fitted(*steps, rows=ROWS, schema=SCHEMA):
    """The steps' parameters by name."""
    made = table_steps.fitted(steps, schema, rows)
    build(made, own_steps(made))
    return {step.name: step.parameters for step in made}


def step(name, **parameters):
    """A step as a recipe has it."""
    return Step(name=name, parameters=parameters)


def test_by_default_gaps_are_filled_and_strings_encoded():
    """Numbers by the median, the rest by what is most frequent; the columns are named in the tensor's order."""
    found = fitted()
    assert list(found) == ["select", "impute", "one_hot", "assemble"]
    assert found["select"] == {"columns": [column.model_dump() for column in SCHEMA]}
    assert found["impute"] == {"values": {"age": 15.0, "city": "Rome", "member": 0.0}}
    assert found["one_hot"] == {"columns": {"city": ["Bonn", "Oslo", "Rome"]}, "unknown": "ignore"}
    assert found["assemble"] == {"columns": ["age", "income", "city=Bonn", "city=Oslo", "city=Rome", "member"]}


def test_numbers_without_gaps_stay_as_they_are():
    """Then a tensor of a table's numbers is a row of it."""
    schema = SCHEMA[1:2]
    found = fitted(rows=[{"income": 1.5}, {"income": 2}], schema=schema)
    assert list(found) == ["select", "assemble"]


def test_what_is_fitted_is_what_scikit_learn_fits():
    """SimpleImputer's statistics, StandardScaler's and MinMaxScaler's figures, OneHotEncoder's categories."""
    frame = pd.DataFrame(ROWS)
    numbers = frame[["age", "income"]].to_numpy(float)
    for method, strategy in (("mean", "mean"), ("median", "median"), ("most_frequent", "most_frequent")):
        values = fitted(SELECT, step("impute", numbers=method), step("one_hot", unknown="ignore"), ASSEMBLE)["impute"]
        assert values["values"]["age"] == SimpleImputer(strategy=strategy).fit(numbers).statistics_[0]
    impute = step("impute", numbers="mean")
    filled = SimpleImputer().fit_transform(numbers)
    standard = fitted(SELECT, impute, step("scale"), step("one_hot"), ASSEMBLE)["scale"]["columns"]
    scaler = StandardScaler().fit(filled)
    assert [each["center"] for each in standard.values()] == pytest.approx(scaler.mean_.tolist())
    assert [each["scale"] for each in standard.values()] == pytest.approx(scaler.scale_.tolist())
    least = fitted(SELECT, impute, step("scale", method="minmax"), step("one_hot"), ASSEMBLE)["scale"]["columns"]
    ranges = MinMaxScaler().fit(filled)
    assert [each["center"] for each in least.values()] == pytest.approx(ranges.data_min_.tolist())
    assert [each["scale"] for each in least.values()] == pytest.approx(ranges.data_range_.tolist())
    encoder = OneHotEncoder().fit(frame[["city"]].fillna("Rome"))
    assert fitted()["one_hot"]["columns"]["city"] == encoder.categories_[0].tolist()


def test_what_is_given_is_kept():
    """Only what a recipe leaves out is fitted, with the settings that it has for that."""
    found = fitted(
        step("select", extra="ignore"),
        step("impute", values={"age": 0, "city": "?", "member": 1}),
        step("scale", columns={"income": {"center": 1, "scale": 2}}),
        step("ordinal", columns={"city": ["?", "Bonn", "Oslo", "Rome"]}),
        step("assemble", columns=["city", "income"]),
        step("normalize", scale=2.0),
    )
    assert found["select"]["extra"] == "ignore"
    assert found["impute"] == {"values": {"age": 0, "city": "?", "member": 1}}
    assert found["scale"] == {"columns": {"income": {"center": 1, "scale": 2}}}
    assert found["assemble"] == {"columns": ["city", "income"]}
    rare = fitted(SELECT, step("impute", indicators=True), step("one_hot", min_count=2, unknown="other"), ASSEMBLE)
    assert rare["impute"]["indicators"] == ["age", "city", "member"]
    assert rare["one_hot"] == {"columns": {"city": ["Rome"]}, "unknown": "other"}
    assert rare["assemble"]["columns"][2:4] == ["city=Rome", "city=<other>"]


def test_a_column_that_does_not_vary_is_not_blown_up():
    """Its deviation is 0, which nothing is divided by."""
    schema = SCHEMA[1:2]
    found = fitted(SELECT, step("scale"), ASSEMBLE, rows=[{"income": 3}, {"income": 3}], schema=schema)
    assert found["scale"] == {"columns": {"income": {"center": 3.0, "scale": 1.0}}}


def test_own_steps_are_fitted_around():
    """What follows sees what they make."""
    logarithm = step(f"{fake_steps.__name__}:logarithm", columns=["income"])
    select = step("select", columns=[{"name": "income", "type": "number"}])
    found = fitted(select, logarithm, step("scale"), ASSEMBLE)
    assert found["scale"]["columns"]["income"]["center"] == pytest.approx(np.log([5, 7, 7, 9, 1]).mean())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([SELECT, ASSEMBLE], "preprocessing: assemble: the column 'city' holds strings; encode it by"),
        ([SELECT, step("one_hot"), ASSEMBLE], "preprocessing: one_hot: column 'city': it has no value"),
        ([SELECT, step("scale", columns=["weight"]), ASSEMBLE], "scale: there is no column 'weight'; there are age"),
        ([SELECT, step("one_hot", min_count=9), ASSEMBLE], "the column 'city' has 0 categories; expected 1 to 1000"),
        (
            [SELECT, step(f"{fake_steps.__name__}:logarithm", columns=["member"]), ASSEMBLE],
            "preprocessing: tests.fakes.own_steps:logarithm: secret: no logarithm of",
        ),
    ],
)
def test_what_cannot_be_fitted_is_said(steps, message):
    """By the step and the column."""
    with pytest.raises(TrainingError, match=message):
        fitted(*steps)


def test_a_column_without_values_cannot_be_filled():
    """There is nothing to fill it with."""
    with pytest.raises(TrainingError, match="the column 'age' has no value in any training row"):
        fitted(rows=[{**row, "age": None} for row in ROWS])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([SELECT, step("impute", strategy="mean"), ASSEMBLE], r"step 1 \(impute\): strategy: no such setting"),
        ([SELECT, step("scale", method="robust"), ASSEMBLE], "method: Input should be 'standard' or 'minmax'"),
        ([SELECT, step("ordinal"), ASSEMBLE], r"step 1 \(ordinal\): columns: Field required"),
        ([SELECT, step("no.such:step", a=1), ASSEMBLE], r"step 1 \(no.such:step\): it cannot be imported"),
        ([SELECT], "has to follow"),
    ],
)
def test_a_recipes_steps_are_checked_before_there_are_data(steps, message):
    """As far as they can be."""
    with pytest.raises(StepError, match=message):
        table_steps.check(steps)
