"""serving.preprocessing.table, and pipelines of its steps"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serving.preprocessing import InputError, Pipeline, Step, StepError, build

COLUMNS = [
    {"name": "age", "type": "number", "nullable": True},
    {"name": "city", "type": "string"},
    {"name": "member", "type": "boolean"},
]
IMPUTE = {"values": {"age": 40}, "indicators": ["age"]}
ONE_HOT = {"columns": {"city": ["Oslo", "Rome"]}}
FEATURES = ["age", "age_missing", "city=Oslo", "city=Rome", "member"]
GOOD = {"age": 20, "city": "Rome", "member": True}


def pipeline(**changes: Mapping[str, Any]) -> Pipeline:
    """A pipeline of every kind of column, with other parameters for some of its steps."""
    parameters = {
        "select": {"columns": COLUMNS},
        "impute": IMPUTE,
        "scale": {"columns": {"age": {"center": 30, "scale": 10}}},
        "one_hot": ONE_HOT,
        "assemble": {"columns": FEATURES},
    }
    return build(Step(name=name, parameters={**given, **changes.get(name, {})}) for name, given in parameters.items())


def test_a_row_becomes_a_tensor() -> None:
    """Each column goes its way; what is missing gets its value and its mark."""
    rows = [GOOD, {"age": None, "city": "Oslo", "member": False}, {"city": "Oslo", "member": False}]
    made = pipeline().from_rows(rows)
    np.testing.assert_array_equal(made[0], np.array([-1, 0, 0, 1, 1], np.float32))
    for tensor in made[1:]:
        np.testing.assert_array_equal(tensor, np.array([1, 1, 1, 0, 0], np.float32))
    assert pipeline()(json.dumps(GOOD).encode()).tolist() == [-1, 0, 0, 1, 1]


def test_the_same_as_scikit_learn() -> None:
    """Imputed, scaled and encoded columns are those of SimpleImputer, StandardScaler, OneHotEncoder, OrdinalEncoder."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "a": np.where(rng.random(200) < 0.2, np.nan, rng.normal(50, 20, 200)),
            "b": rng.exponential(1e-3, 200),
            "kind": rng.choice(["x", "y", "z"], 200),
            "size": rng.choice(["small", "large"], 200),
        }
    )
    frame.loc[rng.random(200) < 0.1, "kind"] = None
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    kinds = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    transformer = ColumnTransformer(
        [
            ("numbers", numbers, ["a", "b"]),
            ("kinds", kinds, ["kind"]),
            ("sizes", OrdinalEncoder(categories=[["small", "large"]]), ["size"]),
        ]
    )
    expected = transformer.fit_transform(frame.fillna({"kind": np.nan}))
    imputer, scaler = transformer.named_transformers_["numbers"]
    frequent, encoder = transformer.named_transformers_["kinds"]
    scalings = zip(["a", "b"], scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
    ours = build(
        [
            Step(
                name="select",
                parameters={
                    "columns": [
                        {"name": "a", "type": "number", "nullable": True},
                        {"name": "b", "type": "number"},
                        {"name": "kind", "type": "string", "nullable": True},
                        {"name": "size", "type": "string"},
                    ]
                },
            ),
            Step(name="impute", parameters={"values": {"a": imputer.statistics_[0], "kind": frequent.statistics_[0]}}),
            Step(name="scale", parameters={"columns": {n: {"center": m, "scale": s} for n, m, s in scalings}}),
            Step(name="one_hot", parameters={"columns": {"kind": encoder.categories_[0].tolist()}}),
            Step(name="ordinal", parameters={"columns": {"size": ["small", "large"]}}),
            Step(name="assemble", parameters={"columns": ["a", "b", "kind=x", "kind=y", "kind=z", "size"]}),
        ]
    )
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    np.testing.assert_allclose(np.stack(ours.from_rows(rows)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason", "text"),
    [
        ({"age": "abc"}, "COLUMN_TYPE_MISMATCH", "column 'age': expected a number, got 'abc'"),
        ({"age": True}, "COLUMN_TYPE_MISMATCH", "column 'age': expected a number, got true"),
        ({"age": [1]}, "COLUMN_TYPE_MISMATCH", "column 'age': expected a number, got a list"),
        ({"age": "a" * 10**6}, "COLUMN_TYPE_MISMATCH", f"column 'age': expected a number, got '{'a' * 50}…'"),
        ({"age": math.nan}, "COLUMN_NOT_FINITE", "column 'age': expected a finite number, got nan"),
        ({"age": -math.inf}, "COLUMN_NOT_FINITE", "column 'age': expected a finite number, got -inf"),
        ({"age": 10**400}, "COLUMN_NOT_FINITE", "column 'age': expected a number of 64 bits, got a larger one"),
        ({"age": 1e300}, "COLUMN_NOT_FINITE", "column 'age': expected a number of 32 bits, got a larger one"),
        ({"city": 5}, "COLUMN_TYPE_MISMATCH", "column 'city': expected a string, got 5"),
        ({"city": None}, "COLUMN_MISSING", "column 'city': it has no value; expected a string"),
        ({"city": "x" * 1001}, "COLUMN_TOO_LONG", "column 'city': expected 1000 characters at most, got 1001"),
        ({"city": "rome"}, "CATEGORY_UNKNOWN", "column 'city': expected one of 'Oslo', 'Rome', got 'rome'"),
        ({"member": 1}, "COLUMN_TYPE_MISMATCH", "column 'member': expected true or false, got 1"),
        ({"name": "x"}, "COLUMN_UNKNOWN", "there is no column 'name'; expected age, city, member"),
    ],
)
def test_a_bad_value_is_said_with_its_column(change: dict[str, Any], reason: str, text: str) -> None:
    """And the rows beside it are answered as if it were not there."""
    before, error, after = pipeline().from_rows([GOOD, {**GOOD, **change}, GOOD])
    assert isinstance(error, InputError)
    assert (error.reason, str(error)) == (reason, text)
    assert isinstance(before, np.ndarray)
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("unknown", "expected"), [("ignore", {"city=Oslo": 0, "city=Rome": 0}), ("other", {"city=<other>": 1})]
)
def test_an_unknown_category(unknown: str, expected: dict[str, float]) -> None:
    """It is none of the known ones, or a column of its own says so."""
    encoder = build(
        [
            Step(name="select", parameters={"columns": [{"name": "city", "type": "string", "nullable": True}]}),
            Step(name="one_hot", parameters={**ONE_HOT, "unknown": unknown}),
            Step(name="assemble", parameters={"columns": list(expected)}),
        ]
    )
    for tensor in encoder.from_rows([{"city": "Bonn"}, {"city": None}]):
        assert isinstance(tensor, np.ndarray)
        assert tensor.tolist() == list(expected.values())


def test_numbers_can_be_categories() -> None:
    """A code is a number that says nothing by its size; an unknown one may be -1."""
    steps = [
        Step(name="select", parameters={"columns": [{"name": "code", "type": "number"}]}),
        Step(name="ordinal", parameters={"columns": {"code": [7, 3]}, "unknown": "encode"}),
        Step(name="one_hot", parameters={"columns": {"code": [0, 1, -1]}}),
        Step(name="assemble", parameters={"columns": ["code=0", "code=1", "code=-1"]}),
    ]
    made = build(steps).from_rows([{"code": 7}, {"code": 3.0}, {"code": 4}])
    assert np.stack(made).tolist() == np.eye(3).tolist()


def test_columns_that_are_of_no_use_can_be_ignored() -> None:
    """As callers have more than a model takes."""
    tensors = pipeline(select={"extra": "ignore"}).from_rows([{**GOOD, "name": [1]}])
    assert isinstance(tensors[0], np.ndarray)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"select": {"columns": []}}, r"step 0 \(select\): columns: Tuple should have at least 1"),
        ({"select": {"columns": [COLUMNS[0], COLUMNS[0]]}}, "columns: Value error, a name comes twice"),
        ({"select": {"columns": [{"name": "a", "type": "date"}]}}, "columns.0.type"),
        ({"impute": {"values": {"weight": 1}}}, r"step 1 \(impute\): there is no column 'weight'; there are age, city"),
        ({"impute": {"values": {"city": 1}}}, "the column 'city' holds strings; expected numbers"),
        ({"impute": {"values": {"age": "x"}}}, "the column 'age' holds numbers; expected strings"),
        ({"impute": {"values": {"age": math.inf}}}, "values.age"),
        ({"scale": {"columns": {"age": {"center": 0, "scale": 0}}}}, "columns.age.scale"),
        ({"scale": {"columns": {"city": {"center": 0, "scale": 1}}}}, "holds strings"),
        ({"one_hot": {"columns": {"city": [1, 2]}}}, "its categories are of different types"),
        ({"one_hot": {"columns": {"town": ["a"]}}}, "there is no column 'town'"),
        ({"assemble": {"columns": ["age", "age"]}}, "a name comes twice"),
        ({"assemble": {"columns": ["city"]}}, "there is no column 'city'"),
    ],
)
def test_columns_that_do_not_fit_are_found_when_the_pipeline_is_built(changes: dict[str, Any], text: str) -> None:
    """Not when the first row comes."""
    with pytest.raises(StepError, match=text):
        pipeline(**changes)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["select", "select"], "comes first"),
        (["select"], "`assemble` has to follow `select`"),
        (["select", "grayscale"], "`grayscale` cannot stand between `select` and `assemble`"),
        (["select", "assemble", "impute"], "`impute` cannot stand after `select`"),
        (["select", "assemble", "grayscale"], "`grayscale` cannot stand after `assemble`"),
        (["decode", "scale"], "`scale` cannot stand after `decode`"),
        (["impute"], "comes first"),
    ],
)
def test_steps_stand_where_they_can(names: list[str], text: str) -> None:
    """Those of images and those of tables are not mixed."""
    with pytest.raises(StepError, match=text):
        build(Step(name=name) for name in names)


def test_one_kind_of_input_only() -> None:
    """Rows make no image, an image no row."""
    with pytest.raises(InputError, match="takes rows of a table, not images"):
        pipeline().from_pixels(np.zeros((1, 1, 1), np.uint8))
    (error,) = build([Step(name="decode")]).from_rows([GOOD])
    assert str(error) == "the model takes images, not rows of a table"


def test_steps_for_tensors_follow() -> None:
    """Each instance's tensor goes on alone."""
    steps = [
        Step(name="select", parameters={"columns": [{"name": "a", "type": "number"}]}),
        Step(name="assemble", parameters={"columns": ["a"]}),
        Step(name="cast", parameters={"dtype": "int8"}),
    ]
    assert [(tensor.dtype, tensor.tolist()) for tensor in build(steps).from_rows([{"a": 3}, {"a": -1}])] == [
        ("int8", [3]),
        ("int8", [-1]),
    ]


@pytest.mark.parametrize("encoded", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_no_row(encoded: bytes) -> None:
    """However it is broken."""
    with pytest.raises(InputError) as caught:
        pipeline()(encoded)
    assert caught.value.reason == "ROW_UNREADABLE"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.none())
NAMES = st.sampled_from(["age", "city", "member"]) | st.text(max_size=5)
PIPELINE = pipeline()


@given(rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=5) | st.just(GOOD), min_size=1, max_size=5))
def test_hostile_rows(rows: list[dict[str, Any]]) -> None:
    """Whatever rows hold, each gets a finite tensor or an InputError, and the same as it would alone."""
    made = PIPELINE.from_rows(rows)
    assert len(made) == len(rows)
    for row, result in zip(rows, made, strict=True):
        (alone,) = PIPELINE.from_rows([row])
        if isinstance(result, InputError):
            assert str(alone) == str(result)
        else:
            assert isinstance(result, np.ndarray)
            assert result.shape == (5,)
            assert np.isfinite(result).all()
            np.testing.assert_array_equal(result, alone)
