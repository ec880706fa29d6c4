import logging

import keras
import numpy as np
import pytest

from trainer import tracking
from trainer.errors import TrainingError
from trainer.recipe import parse
from trainer.record import Records
from trainer.registry import Registry
from trainer.store import Published

pytestmark = [
    # Keras's variables under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    # MLflow of its own type hints, once.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
AWAY = "nowhere://"
TAGS = {"git_revision": "g", "data_hash": "d"}


@pytest.fixture
def recipe(request, tmp_path, monkeypatch):
    """The default one, by a name that no other test has, at work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    recipe, *_ = parse([])
    return recipe.model_copy(update={"name": request.node.name})


@pytest.fixture(scope="module")
def model():
    """The smallest Keras model that can be saved."""
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.fixture
def record(recipe, model, tmp_path):
    """Makes a run from start to end; gives its id while it trained."""

    def record(uri, *, passed=True):
        export, report = tmp_path / "1", tmp_path / "1/assets.extra/report"
        report.mkdir(parents=True)
        (export / "saved_model.pb").write_text("graph")
        (report / "report.html").write_text("page")
        with tracking.Run(uri, recipe, TAGS) as run:
            run.trial(1, {"fit.learning_rate": 0.01, "network.hidden": [8, 4]}, "accuracy", [0.5, 0.75], "complete")
            run.searched(recipe, {"network.hidden": [8, 4]})
            run.epoch(1, {"train_loss": 2.0})
            run.epoch(2, {"train_loss": 1.0})
            run.trained_on(np.array([1, 2], np.uint64))
            run.result(model, np.ones((1, 2), np.float32), {"accuracy": 0.75, "recall_nuts & bolts (M4)": 1.0})
            run.judged(export, report, "{}", {"latency_ms_1": 0.5}, passed=passed)
            if passed:
                run.published(Published(1, str(export)), {"accuracy": 0.75}, promote=False)
        return run.id

    return record


@pytest.fixture
def check(client, recipe):
    """Makes sure that MLflow has all of a run, and the registry its model."""

    def check(run_id):
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.info.start_time <= run.info.end_time
        assert run.data.params["fit.batch_size"] == "128"
        assert (
            run.data.metrics.items() >= {"accuracy": 0.75, "latency_ms_1": 0.5, "recall_nuts _ bolts _M4_": 1}.items()
        )
        assert [(each.step, each.value) for each in client.get_metric_history(run_id, "train_loss")] == [(1, 2), (2, 1)]
        assert run.data.tags.items() >= {**TAGS, "gate": "passed", "model_store.version": "1"}.items()
        paths = artifacts(client, run_id)
        assert paths >= {"recipe.json", "contract.json", "report/report.html", "export/saved_model.pb", "model/MLmodel"}
        assert not {path for path in paths if "assets.extra" in path}
        assert run.data.tags["override.network.hidden"] == "[8, 4]"
        within = f"tags.`mlflow.parentRunId` = '{run_id}'"
        (trial,) = client.search_runs([run.info.experiment_id], within)
        assert (trial.info.run_name, trial.info.status) == ("trial-1", "FINISHED")
        assert trial.data.params == {"fit.learning_rate": "0.01", "network.hidden": "[8, 4]"}
        assert trial.data.tags["search.ended"] == "complete"
        values = client.get_metric_history(trial.info.run_id, "accuracy")
        assert [(each.step, each.value) for each in values] == [(1, 0.5), (2, 0.75)]
        (version,) = Registry(client).versions(recipe.name)
        assert (version.run_id, version.aliases) == (run_id, ["champion"])
        assert version.tags.items() >= {**TAGS, "figures.accuracy": "0.75", "model_store.version": "1"}.items()

    return check


def artifacts(client, run_id, path=None):
    """The paths of all files of a run."""
    found = client.list_artifacts(run_id, path)
    return {each.path for each in found if not each.is_dir} | {
        path for each in found if each.is_dir for path in artifacts(client, run_id, each.path)
    }


def test_a_run_is_recorded_and_its_model_registered(store, record, check):
    """Settings, figures by epoch, lineage, recipe, report, model and export are there, and nothing waits."""
    check(record(store))
    assert Records(tracking.PENDING).kept() == []


def test_a_run_without_mlflow_is_uploaded_later(store, client, record, check, caplog):
    """A server that is away is said twice, loses nothing, and the run that it gets is found by the id that it had."""
    run_id = record(AWAY)
    assert [record.levelno for record in caplog.records if "MLflow at nowhere://" in record.message] == [30, 30]
    (kept,) = Records(tracking.PENDING).kept()
    uploaded = tracking.upload(Records(tracking.PENDING), kept, store)
    assert uploaded != run_id
    assert tracking.find_run(client, run_id).info.run_id == uploaded
    assert Records(tracking.PENDING).kept() == []
    check(uploaded)


@pytest.mark.parametrize("step", ["log_batch", "log_artifacts", "create_model_version", "set_terminated"])
def test_an_upload_that_is_cut_short_may_be_done_again(store, record, check, monkeypatch, step):
    """Wherever it ends, the next one completes the same run and the same version."""
    record(AWAY)
    records = Records(tracking.PENDING)
    (kept,) = records.kept()

    def fail(*_, **__):
        raise ConnectionError("cut\nshort")

    with monkeypatch.context() as cut:
        cut.setattr(tracking.MlflowClient, step, fail)
        with pytest.raises(TrainingError, match="cut short"):
            tracking.upload(records, kept, store)
    assert records.kept() == [kept]
    run_id = tracking.upload(records, kept, store)
    client = tracking.MlflowClient(store)
    experiment = client.get_run(run_id).info.experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment], "tags.gate = 'passed'")] == [run_id]
    check(run_id)


def test_a_server_that_is_back_at_the_end_has_all(store, record, check, monkeypatch, caplog):
    """What could not be shown live is uploaded into the run that was begun."""
    started = []
    send = tracking._send

    def sometimes(client, run_id, metrics, made=None):
        if not made:
            raise ConnectionError("away")
        started.append(run_id)
        send(client, run_id, metrics, made)

    monkeypatch.setattr(tracking, "_send", sometimes)
    run_id = record(store)
    assert started == [run_id, run_id]
    assert sum("away: this run is recorded when it ends" in each.message for each in caplog.records) == 1
    check(run_id)


def test_a_refused_run_is_recorded_and_not_registered(store, client, recipe, record):
    """It is finished, tagged, has its report and no export, and the registry does not know it."""
    run_id = record(store, passed=False)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["gate"]) == ("FINISHED", "refused")
    assert {path.partition("/")[0] for path in artifacts(client, run_id)} == {
        "recipe.json",
        "contract.json",
        "report",
        "model",
        "training_examples.npy",
    }
    assert Registry(client).versions(recipe.name) == []


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_fails_says_so(store, client, recipe, error, status):
    """Its status in MLflow is that of its end, and the exception goes on."""
    with pytest.raises(error), tracking.Run(store, recipe, {}) as run:
        raise error
    assert client.get_run(run.id).info.status == status


def test_a_full_disk_does_not_cost_the_model(store, record, monkeypatch, caplog):
    """What cannot be kept is said; the run goes on, and what else there is of it is recorded."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracking.np, "save", full)
    record(store)
    # MLflow warns, too, where pip is not installed.
    ours = [each for each in caplog.records if each.name == "trainer"]
    warnings = [each.message for each in ours if each.levelno == logging.WARNING]
    assert warnings == ["the record of this run is not complete: [Errno 28] No space left on device"]


def test_an_unknown_run_is_said(client):
    """Whatever is asked for."""
    for text in ("0" * 32, "' or '", ""):
        with pytest.raises(TrainingError, match="MLflow has no run"):
            tracking.find_run(client, text)


def test_passwords_are_not_shown():
    """A tracking server's address is logged and kept without what opens it."""
    assert tracking.shown("postgresql://me:secret@host:1/db") == "postgresql://host:1/db"
    assert tracking.shown("http://host:5000") == "http://host:5000"


def test_the_local_store_is_the_default(tmp_path, monkeypatch):
    """Without an address there is a database under var/mlflow."""
    monkeypatch.chdir(tmp_path)
    assert tracking.locate(None) == f"sqlite:///{tmp_path}/var/mlflow/mlflow.db"
