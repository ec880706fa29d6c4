import base64
from html.parser import HTMLParser

import numpy as np
import pytest

from serving.contract import Contract, InputSpec, Postprocessing
from trainer import report
from trainer.comparison import mcnemar
from trainer.data import Dataset
from trainer.evaluate import errors, figures
from trainer.gate import Champion, Drift, judge
from trainer.pictures import Picture
from trainer.recipe import Gate
from trainer.robustness import Slice

LABELS = ("<script>alert(1)</script>", "b & c")
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32)
TRUTH = np.array([0, 1, 1])
EPOCHS = [(1, {"train_loss": 1.0})]


class Page(HTMLParser):
    """Collects a page's tags with their attributes, and its text; tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())


@pytest.fixture
def contract():
    """Of a model of two classes, whose names are what a page must not take for its own."""
    return Contract(
        name="m",
        input=InputSpec(name="image", dtype="float32", shape=(2,)),
        preprocessing=(),
        postprocessing=Postprocessing(task="classification", output="p", labels=LABELS),
        evaluation=figures(PROBABILITIES, TRUTH, LABELS),
        lineage={"data_source": "a < b"},
    )


@pytest.fixture
def page(contract, tmp_path):
    """The page with two pictures."""
    shown = [Picture("one", 'a "caption"', b"first"), Picture("two", "<b>", b"second")]
    slices = {"clean": Slice(0.75, (1.0, None))}
    report.write(tmp_path / "report", contract, shown, report.tables(contract, {"size_bytes": 1234567.0}, slices))
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").glob("*.png")} == {
        "one.png": b"first",
        "two.png": b"second",
    }
    return Page((tmp_path / "report" / "report.html").read_text("utf-8"))


def test_the_page_stands_alone(page):
    """It is whole, has its pictures inside, and asks for no other file and no script."""
    assert page.open == []
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [
        b"first",
        b"second",
    ]
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not any("href" in attributes for _, attributes in page.tags)


def test_the_page_shows_names_as_they_are(page):
    """Names and captions are text on the page, whatever signs they have."""
    assert {*LABELS, "a < b", 'a "caption"', "<b>"} <= set(page.text)
    assert {attributes["alt"] for tag, attributes in page.tags if tag == "img"} == {'a "caption"', "<b>"}


def test_the_tables_have_every_figure(contract):
    """Each figure is in one place: overall, by class, by corruption, or of the export."""
    overall, by_class, corrupted, costs, _ = report.tables(
        contract, {"latency_ms_1": 0.25, "size_bytes": 1234567.0}, {"clean": Slice(0.75, (1.0, None))}
    )
    assert ("accuracy", "0.6667") in overall.rows
    assert len(overall.rows) + 3 * len(by_class.rows) == len(contract.evaluation)
    assert by_class.rows[1] == (LABELS[1], "1.0000", "0.5000", "0.6667")
    assert corrupted.rows == (("clean", "0.7500", "1.0000", "–"),)
    assert costs.rows == (("latency_ms_1", "0.2500"), ("size_bytes", "1,234,567"))


def test_a_regression_has_no_classes_to_list(contract):
    """Its tables are the figures, the cost and the lineage."""
    of_values = contract.model_copy(
        update={
            "postprocessing": Postprocessing(task="regression", output="value"),
            "evaluation": errors(np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        }
    )
    assert [len(table.rows) for table in report.tables(of_values, {}, {})] == [5, 0, 1]


def names(pictures):
    """What pictures are called."""
    return [picture.name for picture in pictures]


def test_pictures_of_classes(bars, steps):
    """Images show the worst mistakes too, if there are any; a run that had no epochs left has no curves."""
    right = np.eye(3, dtype=np.float32)[bars.targets]
    wrong = np.roll(right, 1, axis=1)
    always = ["confusion_matrix", "reliability"]
    assert names(report.pictures_of(wrong, bars, steps, EPOCHS)) == ["learning_curves", *always, "worst_mistakes"]
    assert names(report.pictures_of(right, bars, steps, [])) == always
    assert names(report.pictures_of(wrong, bars, (), [])) == always


def test_the_surest_mistake_comes_first(bars, steps, monkeypatch):
    """Mistakes are shown by confidence, each with its true class, what it was taken for, and how surely."""
    shown = []
    monkeypatch.setattr(report.pictures, "mistakes", lambda images, captions: shown.extend(captions))
    outputs = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.8, 0, 0.2]], np.float32)
    report.pictures_of(outputs, bars.part([0, 1, 2]), steps, [])
    assert shown == ["right → left (80%)", "middle → left (60%)"]


def test_pictures_of_values():
    """A regression shows values and residuals."""
    rows = Dataset(np.ones((3, 2), np.float32), np.array([1, 2, 3], np.float32), "rows", columns=("x", "y"))
    made = report.pictures_of(np.ones((3, 1), np.float32), rows, (), EPOCHS)
    assert names(made) == ["learning_curves", "predicted_values", "residuals"]


def test_the_gate_is_in_the_report():
    """Its checks and warnings, the champion's figures beside the candidate's, and the drift."""
    champion = Champion(
        version="3",
        store_version="7",
        run_id="r",
        figures={"accuracy": 0.5, "gone": 1.0},
        test=mcnemar(np.array([True, False]), np.array([True, True])),
        drift={"ink_share": Drift(psi=0.3, jensen_shannon=0.1)},
        seen=0,
    )
    settings = Gate(floors={"accuracy": 0.9})
    checks, beside, drift = report.verdict(judge("m", settings, {"accuracy": 0.75}, champion))
    assert [(row[0], row[2]) for row in checks.rows] == [
        ("accuracy", "refused"),
        ("champion", "passed"),
        ("warning", ""),
    ]
    assert beside.rows == (("accuracy", "0.5000", "0.7500", "+0.2500"),)
    assert drift.rows == (("ink_share", "0.3000", "0.1000"),)
    assert report.verdict(judge("m", Gate(), {}, None)) == []
