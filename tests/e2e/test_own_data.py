"""One's own data: trained from a recipe file, served and called, with nothing else written for them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_diabetes

from stack.processes import child
from tensorgate import Client
from tests.e2e.conftest import ROOT, TIMEOUT, environment
from tests.integration.conftest import gateways

SHAPES = """
name: shapes
data: {source: images, path: shapes, holdout: 0.25}
preprocessing:
  - {name: decode}
  - {name: resize, parameters: {height: 16, width: 16}}
  - {name: normalize}
network: {build: "trainer.network:cnn", filters: [8, 16], hidden: [32]}
fit: {epochs: 10, batch_size: 10, optimizer: adamw, learning_rate: 0.006}
"""
TABLE = """
name: table
task: regression
data: {source: table, path: table.csv, target: price}
"""
EPOCHS = 10
PER_CLASS = 40


def draw(label: str, rng: np.random.Generator) -> Image.Image:
    """A shape in a dark colour on white, somewhere near the middle."""
    image = Image.new("RGB", (48, 40), "white")
    pen = ImageDraw.Draw(image)
    x, y, r = *rng.integers(18, 26, 2), int(rng.integers(9, 14))
    box, colour = (x - r, y - r, x + r, y + r), tuple(rng.integers(0, 120, 3).tolist())
    match label:
        case "circle":
            pen.ellipse(box, outline=colour, width=3)
        case "square":
            pen.rectangle(box, fill=colour)
        case _:
            pen.line(box, fill=colour, width=4)
            pen.line((x - r, y + r, x + r, y - r), fill=colour, width=4)
    return image


def fill(folder: Path, count: int, seed: int) -> None:
    """Fills a folder of class-named folders with PNGs and JPEGs."""
    rng = np.random.default_rng(seed)
    for label in ("circle", "cross", "square"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            draw(label, rng).save(folder / label / f"{number}.{'png' if number % 2 else 'jpg'}")


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """The trainer as a process, at work in `directory`."""
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", "train", *arguments],
        cwd=directory,
        env=environment() | {"MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(directory: Path, *arguments: str) -> tuple[str, str]:
    """What a training that ends well writes to stdout and stderr."""
    process = start(directory, *arguments)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    return out, error


@contextmanager
def served(models: Path, name: str, logs: Path, *flags: str) -> Iterator[Client]:
    """A client of a gateway in front of an embedded server with one model."""
    command = [sys.executable, "-m", "serving.embedded", "--port=0", f"--model_name={name}"]
    with ExitStack() as children:
        server = children.enter_context(
            child("the model server", [*command, f"--model_base_path={models / name}"], logs / "server.txt")
        )
        address = server.wait_for("serving gRPC on ", TIMEOUT).split()[-1]
        gateway = children.enter_context(gateways(logs, "grpc.aio"))(address, *flags, models=name)
        yield children.enter_context(Client(gateway.address, key=gateway.key))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Three made-up classes, trained twice: once in one go, once killed on the way and resumed."""
    directory = tmp_path_factory.mktemp("shapes")
    fill(directory / "shapes", PER_CLASS, seed=0)
    (directory / "shapes.yaml").write_text(SHAPES)
    whole = train(directory, "--recipe", "shapes.yaml")
    killed = start(directory, "--recipe", "shapes.yaml")
    assert killed.stderr is not None
    with killed:
        for line in killed.stderr:
            if "epoch 4/" in line:
                break
        killed.send_signal(signal.SIGKILL)
    resumed = train(directory, "--recipe", "shapes.yaml", "--resume")
    return SimpleNamespace(directory=directory, models=directory / "var/models", whole=whole, resumed=resumed)


def test_the_folders_names_are_answered(shapes: SimpleNamespace, tmp_path: Path) -> None:
    """Images of one's own classes, never seen before, come back with the names of their folders."""
    assert ": circle 40, cross 40, square 40" in shapes.whole[1]
    fill(tmp_path / "new", 4, seed=1)
    images = sorted((tmp_path / "new").glob("*/*"))
    with served(shapes.models, "shapes", tmp_path) as client:
        answers = [client.predict(image) for image in images]
        model = client.get_model("shapes")
    right = sum(answer.label == image.parent.name for answer, image in zip(answers, images, strict=True))
    assert len(images) == 12
    assert right >= 11
    assert model.evaluation["accuracy"] >= 0.9


def test_a_killed_training_is_resumed(shapes: SimpleNamespace) -> None:
    """What SIGKILL left is gone on with: the same epochs, the same figures, and no checkpoint is left behind."""
    whole, resumed = (re.findall(r"epoch (\d+)/\d+: (.*)", error) for _, error in (shapes.whole, shapes.resumed))
    assert len(whole) == EPOCHS
    assert 0 < len(resumed) < EPOCHS
    assert resumed == whole[-len(resumed) :]
    assert shapes.resumed[0].split()[1:] == shapes.whole[0].split()[1:]
    assert {path.name for path in (shapes.models / "shapes").iterdir()} == {".lock", "1", "2"}


def test_a_table_is_answered_with_a_value(tmp_path: Path) -> None:
    """A regression takes plain numbers as a tensor and answers with a value in the target's unit, not with a label."""
    out, _ = train(tmp_path, "--recipe", str(ROOT / "trainer/recipes/diabetes.yaml"))
    assert re.fullmatch(r"var/models/diabetes/1 rmse \d\d\.\d{4}\n", out)
    patients = load_diabetes(scaled=False)
    with served(tmp_path / "var/models", "diabetes", tmp_path) as client:
        answers = [client.predict(row.astype(np.float32)) for row in patients.data[:60]]
        figures = client.get_model("diabetes").evaluation
        watched = client.drift("diabetes").message.windows[0].features
    assert {answer.label for answer in answers} <= {None, ""}
    values = np.array([answer.value for answer in answers])
    assert np.corrcoef(values, patients.target[:60])[0, 1] > 0.5
    assert [len(feature.reference) for feature in watched if feature.name == "prediction"] == [10]
    assert figures["rmse"] < 65
    assert figures["r2"] > 0.3


def written(directory: Path) -> None:
    """Writes the files of the example in docs/preprocessing.md, and a table for it."""
    page = (ROOT / "docs/preprocessing.md").read_text("utf-8")
    for name, text in re.findall(r"```\w+\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (directory / name).write_text(text)
    rng = np.random.default_rng(0)
    rows = ["area,city,garden,price"]
    for number in range(300):
        area, city, garden = rng.uniform(30, 200), rng.choice(["Bonn", "Oslo", "Rome"]), bool(rng.integers(2))
        price = price_of(area, city, garden=garden)
        rows.append(f"{'' if number % 10 == 0 else area},{'' if number % 17 == 0 else city},{garden},{price:.2f}")
    (directory / "houses.csv").write_text("\n".join(rows))


def price_of(area: float, city: str, *, garden: bool) -> float:
    """What the example's houses cost."""
    return 1000 * np.log(area) + {"Bonn": 0, "Oslo": 1500, "Rome": 800}[city] + 400 * garden


def test_the_example_of_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with strings, gaps and a step of one's own is trained on as documented, and asked about by row."""
    written(tmp_path)
    train(tmp_path, "--recipe", "houses.yaml")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    allowed = '--preprocessing.allowed-steps=["my_steps:logarithm"]'
    houses = [(60.0, "Oslo", True), (150.0, "Rome", False), (90.0, "Bonn", True)]
    with served(tmp_path / "var/models", "houses", tmp_path, allowed) as client:
        answers = client.predict_batch(
            [
                *({"area": area, "city": city, "garden": garden} for area, city, garden in houses),
                {"area": None, "garden": False},
                {"area": -1, "garden": False},
            ]
        )
        nullable = {column.name: column.nullable for column in client.get_model("houses").columns}
    assert nullable == {"area": True, "city": True, "garden": False}
    for house, answer in zip(houses, answers, strict=False):
        area, city, garden = house
        assert answer.value == pytest.approx(price_of(area, city, garden=garden), abs=300)
    assert answers[3].error is None
    assert answers[4].error is not None
    assert answers[4].error.message == "column 'area': expected a number above 0"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (SHAPES, "preprocessing: shapes/circle/0.jpg: the image is damaged or cut short"),
        (TABLE, "table.csv: row 2, column 'rooms' is inf, expected a finite number"),
    ],
)
def test_a_mistake_in_the_data_is_one_line(tmp_path: Path, recipe: str, message: str) -> None:
    """The file, or the row and column, is named in the last line of the log; nothing is published."""
    fill(tmp_path / "shapes", 4, seed=0)
    (tmp_path / "shapes/circle/0.jpg").write_bytes((tmp_path / "shapes/circle/2.jpg").read_bytes()[:300])
    (tmp_path / "table.csv").write_text("rooms,price\n3,100\ninf,80\n")
    (tmp_path / "recipe.yaml").write_text(recipe)
    process = start(tmp_path, "--recipe", "recipe.yaml")
    out, error = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (1, "")
    assert message in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not list(tmp_path.glob("var/models/*/[0-9]*"))
