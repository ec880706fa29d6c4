"""gateway.report"""

import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gateway.feedback.database import connect
from gateway.feedback.labels import Label
from gateway.feedback.store import Store, Task
from gateway.report.commands import run
from tests.fakes.report_sources import capture, images, labels_of_three


def test_images_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has drifted is said and drawn; the page is whole by itself."""
    reference, current = images(tmp_path, "a.tfrecord", 0.3), images(tmp_path, "<b>.tfrecord", 0.6)
    out = tmp_path / "report.html"
    assert run([current, "--reference", reference, "--out", str(out)]) == 0
    lines = {line.split()[0]: line.endswith("drifted") for line in capsys.readouterr().out.splitlines()[:-1]}
    assert lines == {"mean_intensity": True, "ink_share": True, "prediction": False, "confidence": False}
    text = out.read_text()
    HTMLParser().feed(text)
    assert "Drifted: <strong>mean_intensity, ink_share</strong>" in text
    assert text.count("<svg role=") == 4
    assert "<b>" not in text
    assert "src=" not in text
    assert "href=" not in text


def test_tables_and_features_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns by number, features that stand for inputs by name, values of a regression."""
    rng = np.random.default_rng(0)
    files = [
        capture(
            tmp_path / f"{number}.tfrecord",
            {"rows": rng.normal(shift, 1, (500, 2)), "brightness": rng.normal(size=500)},
            {"value": rng.normal(shift, 1, (500, 1)), "ids": np.arange(500)},
        )
        for number, shift in enumerate([0, 1])
    ]
    assert run([files[1], "--reference", files[0], "--out", str(tmp_path / "x.html")]) == 0
    lines = {
        line.split("PSI")[0].strip(): line.endswith("drifted") for line in capsys.readouterr().out.splitlines()[:-1]
    }
    assert lines == {"rows[0]": True, "rows[1]": True, "brightness": False, "prediction (value)": True}


@pytest.fixture
def labels(tmp_path: Path) -> str:
    """The URL of a database with labels."""
    return labels_of_three(tmp_path / "labels.db")


def test_quality(labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of all models, versions and windows, with the confusion and calibration of classes."""
    out = tmp_path / "report.html"
    assert run(["--database-url", labels, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "pets 1 stable: 100 of 200 predictions labelled; accuracy 90.0% (82.6% to 94.5%), macro_f1"
    )
    assert [line.split(":")[0] for line in lines] == ["pets 1 stable", "pets 2 stable", "price 1 stable", "report"]
    assert "rmse 0.5" in lines[2]
    text = out.read_text()
    HTMLParser().feed(text)
    for part in ("Quality of pets", "Quality of price", "Version 1, stable, all", "calibration error"):
        assert part in text
    # Predicted cat, told dog: the ten in a hundred.
    row = text[text.index('<th scope="row">&lt;dog&gt;</th>') :].split("</tr>")[0]
    assert re.findall(r">(\d+)<", row) == ["10", "50"]
    assert "100 labels of confidence 0.90: 90.0% right" in text
    assert "estimated accuracy without labels" in text
    assert "<dog>" not in text
    assert "Quality of unused" not in text


def test_quality_and_drift(
    labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page has both; the database may stand in the environment, as the gateway's."""
    monkeypatch.setenv("TENSORGATE_FEEDBACK__DATABASE_URL", labels)
    reference, current = images(tmp_path, "a.tfrecord", 0.3), images(tmp_path, "b.tfrecord", 0.6)
    out = tmp_path / "report.html"
    assert run([current, "--reference", reference, "--model=pets", "--window=1h", "--out", str(out)]) == 0
    assert "mean_intensity" in capsys.readouterr().out
    text = out.read_text()
    assert "Version 2, stable, 1h" in text
    assert "<h1>Drift</h1>" in text
    assert "price" not in text


def test_many_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of more classes than anybody would read a matrix of, the most frequent mistakes are told."""
    url = f"sqlite:///{tmp_path / 'labels.db'}"
    store = Store(connect(url))
    store.describe({("m", 1): Task("classification", tuple(f"class {number}" for number in range(40)))})
    now = time.time()
    pairs = [(number, number) for number in range(40)] + [(7, 8)] * 3
    store.book(
        [
            Label(os.urandom(16), "m", 1, 0, 0.5, now, now, "me", predicted_class=predicted, label_class=actual)
            for actual, predicted in pairs
        ]
    )
    store.close()
    out = tmp_path / "report.html"
    assert run(["--database-url", url, "--out", str(out)]) == 0
    text = out.read_text()
    assert "Confusion matrix" not in text
    mistakes = text[text.index("The most frequent mistakes") :].split("</table>")[0]
    assert re.findall(r"(class \d+)<", mistakes) == ["class 7", "class 8"]


def test_labels_that_cannot_be_read(labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why, and nothing is made or changed."""
    (tmp_path / "empty.db").write_bytes(b"")
    for url, model, message in (
        (f"sqlite:///{tmp_path / 'none.db'}", "", "there is no file"),
        (f"sqlite:///{tmp_path / 'empty.db'}", "", "has no labels; the gateway makes its tables"),
        (f"postgresql://nobody@/none?host={tmp_path}", "", "is away"),
        ("mysql://x", "", "expected sqlite:///"),
        (labels, "dogs", "has no predictions of dogs"),
    ):
        assert run(["--database-url", url, "--model", model, "--out", str(tmp_path / "x.html")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("report: ")
        assert message in error
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "x.html").exists()
    for arguments in ([], ["file"], ["--reference", "file"]):
        with pytest.raises(SystemExit):
            run(arguments)


def test_without_evidently(
    labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read it is said what to install; Evidently is told first to send nothing."""
    stranger = "import os\nraise ImportError(f'told {os.environ[\"DO_NOT_TRACK\"]}')\n"
    (tmp_path / "evidently.py").write_text(stranger)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DO_NOT_TRACK", "")
    out = tmp_path / "report.html"
    assert run(["--database-url", labels, "--out", str(out), "--evidently", str(tmp_path / "pages")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("report: Evidently cannot be imported here (told 1); expected ")
    assert "`make evidently`" in error
    assert not out.exists()
    assert not (tmp_path / "pages").exists()


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says why."""
    one = capture(tmp_path / "1.tfrecord", {"x": np.zeros(3)}, {})
    other = capture(tmp_path / "2.tfrecord", {"y": np.zeros(3)}, {})
    for files in ((one, other), (one, str(tmp_path / "nowhere"))):
        assert run([files[0], "--reference", files[1], "--out", str(tmp_path / "x.html")]) == 2
        assert capsys.readouterr().err.startswith("report: ")
