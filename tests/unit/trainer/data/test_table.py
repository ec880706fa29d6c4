import pandas as pd
import pytest

from trainer.data import table
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


def test_the_other_numeric_columns_are_the_features(load):
    """By default what is not numeric is left out; truth values are numbers."""
    dataset = load(FRAME, "size")
    assert dataset.columns == ("rooms", "new", "kind")
    assert dataset.inputs.tolist() == [[1, 1, 7], [2, 0, 7], [3, 1, 3]]
    assert (dataset.inputs.dtype, dataset.targets.dtype, dataset.labels) == ("float32", "float32", ())
    assert dataset.targets.tolist() == [1, 2.5, 3]


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
        (FRAME.assign(rooms=[1, None, 3]), "size", {}, "row 2, column 'rooms' is nan"),
        (FRAME.assign(size=[1, 2, None]), "size", {}, "row 3, column 'size' is nan"),
        (FRAME.assign(rooms=[1e300, 2, 3]), "size", {}, "row 1, column 'rooms' is inf"),
        (FRAME.assign(street=["a", None, "c"]), "street", CLASSES, "row 2, column 'street' has no value"),
        (FRAME, "street", {}, "the column 'street' is not numeric"),
        (FRAME, "size", {"features": ("street",)}, "the column 'street' is not numeric"),
        (FRAME, "price", {}, "has no column 'price'; there are size, rooms"),
        (FRAME, "size", {"features": ("size",)}, "besides the target 'size'"),
        (FRAME[["size", "street"]], "size", {}, "besides the target 'size'"),
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
