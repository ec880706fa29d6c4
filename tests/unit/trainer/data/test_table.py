import numpy as np
import pandas as pd
import pytest

from trainer.data import Dataset, table
from trainer.errors import TrainingError
from trainer.recipe import Data

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.5, 3.0],
        "rooms": [1, 2, 3],
        "street": ["a", "b", "c"],
        "new": [True, False, True],
        "kind": [7, 7, 3],
    }
)

CLASSES = {"task": "classification"}


@pytest.fixture(params=["csv", "parquet"])
def load(request, tmp_path):
    """Writes a table in either format and loads it."""

    def load(frame, target, task="regression", **settings):
        path = tmp_path / f"table.{request.param}"
        if request.param == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path)
        return table.load(Data(source="table", path=path, target=target, **settings), task)

    return load


def test_the_other_columns_are_the_features(load):
    """Their values are those of Python, None where there is none."""
    dataset = load(FRAME.assign(street=["a", None, "c"], kind=[7, None, 3]), "size")
    assert dataset.columns == ("rooms", "street", "new", "kind")
    assert dataset.inputs.tolist() == [[1, "a", True, 7], [2, None, False, None], [3, "c", True, 3]]
    assert (dataset.targets.dtype, dataset.labels) == ("float32", ())
    assert [(column.type, column.nullable) for column in table.schema(dataset)] == [
        ("number", False),
        ("string", True),
        ("boolean", False),
        ("number", True),
    ]
    assert dataset.targets.tolist() == [1, 2.5, 3]


def test_what_is_no_category_is_left_out_by_default(load, caplog):
    """Columns without values, of many different strings, or of neither; what is named is taken."""
    frame = pd.DataFrame({"y": np.arange(101.0), "x": 1, "name": [f"n{n}" for n in range(101)], "empty": None})
    with caplog.at_level("INFO", "trainer"):
        assert load(frame, "y").columns == ("x",)
    assert "the column 'name' is left out; name it in `data.features`" in caplog.text
    assert load(frame, "y", features=("name", "x")).columns == ("name", "x")
    with pytest.raises(TrainingError, match="the column 'empty' has no values; expected numbers"):
        table.schema(load(frame, "y", features=("empty",)))


def test_a_column_of_several_kinds_is_refused(tmp_path):
    """One cannot be sent as what it is."""
    mixed = Dataset(np.array([[1], ["a"]], object), np.zeros(2, np.float32), "t", columns=("x",))
    with pytest.raises(TrainingError, match="the column 'x' has int, str; expected numbers"):
        table.schema(mixed)


def test_named_features_keep_their_order(load):
    """The recipe's order is the order that callers send."""
    assert load(FRAME, "kind", features=("rooms", "size")).inputs.tolist() == [[1, 1], [2, 2.5], [3, 3]]


@pytest.mark.parametrize(("target", "labels"), [("kind", ("3", "7")), ("street", ("a", "b", "c"))])
def test_a_classifications_classes_are_the_targets_values(load, target, labels):
    """Numbers or text, each distinct value is a class, named as it is written."""
    dataset = load(FRAME, target, "classification", features=("size",))
    assert dataset.labels == labels
    assert [dataset.labels[number] for number in dataset.targets] == FRAME[target].astype(str).tolist()


@pytest.mark.parametrize(
    ("frame", "target", "settings", "message"),
    [
        (FRAME.assign(rooms=[1, -np.inf, 3]), "size", {}, "row 2, column 'rooms' is -inf"),
        (FRAME.assign(size=[1, 2, None]), "size", {}, "row 3, column 'size' is nan"),
        (
            FRAME.assign(rooms=[1e300, 2, 3]),
            "size",
            {},
            "row 1, column 'rooms' is 1e+300, expected a finite number",
        ),
        (FRAME.assign(street=["a", None, "c"]), "street", CLASSES, "row 2, column 'street' has no value"),
        (FRAME, "street", {}, "the column 'street' is not numeric"),
        (FRAME, "price", {}, "has no column 'price'; there are size, rooms"),
        (FRAME, "size", {"features": ("size",)}, "besides the target 'size'"),
        (FRAME[["size"]], "size", {}, "besides the target 'size'"),
        (FRAME.assign(kind=1), "kind", CLASSES, "has 1 classes, expected 2 or more"),
        (FRAME.assign(size=1.0), "size", {}, "'size' has the same value in every row"),
    ],
)
def test_a_table_that_nothing_can_be_learned_from_is_refused(load, frame, target, settings, message):
    """What is missing or no number is said in one line with its column, and its row."""
    with pytest.raises(TrainingError) as caught:
        load(frame, target, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "cannot be read: No columns"),
        ("t.parquet", "a,b", "cannot be read: "),
        ("t.csv", "x,y", "has no rows"),
        ("t.xlsx", "", "expected a table as .csv or .parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, message):
    """So is a file that is not what its name says."""
    (tmp_path / name).write_text(content)
    with pytest.raises(TrainingError, match=message):
        table.load(Data(source="table", path=tmp_path / name, target="y"), "regression")


def test_the_diabetes_data_come_with_names_and_plain_numbers():
    """Callers send an age in years, not in deviations from the mean."""
    dataset = table.diabetes()
    assert dataset.inputs.shape == (442, 10)
    assert dataset.columns[:3] == ("age", "sex", "bmi")
    assert dataset.inputs[0, 0] == 59
