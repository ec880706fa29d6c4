import pytest

from trainer import tracking
from trainer.recipe import parse
from trainer.store import Published


def test_a_failing_mlflow_is_said_once_and_then_left_alone(caplog, tmp_path, monkeypatch):
    """A store that cannot be opened costs the record, never the run: there is no run id, and nothing raises."""
    monkeypatch.chdir(tmp_path)
    with tracking.Run("nowhere://", parse([])[0], {}) as run:
        run.epoch(1, {"train_loss": 1.0})
        run.published(Published(1, "1"), "{}")
    assert run.id == ""
    assert [record.message for record in caplog.records if "MLflow failed" in record.message] == [caplog.messages[0]]
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_takes_back_the_run_id(caplog, tmp_path, monkeypatch):
    """A record that ends early is not named in the model's lineage."""
    monkeypatch.setattr(tracking.Run, "_start", lambda run, *_: setattr(run, "id", "abc"))
    with tracking.Run(None, parse([])[0], {}) as run:
        assert run.id == "abc"
        run.epoch(1, {"train_loss": object()})
        assert run.id == ""
    assert "MLflow failed" in caplog.text


def test_any_class_name_can_be_a_figure(tmp_path, monkeypatch):
    """A class may be called what MLflow would not take as a name."""
    logged = {}
    monkeypatch.setattr(tracking.Run, "_start", lambda *_: None)
    monkeypatch.setattr(tracking.mlflow, "log_metrics", logged.update)
    with tracking.Run(None, parse([])[0], {}) as run:
        run.result(None, None, {"recall_nuts & bolts (M4)": 1.0})
    assert logged == {"recall_nuts _ bolts _M4_": 1.0}


def test_the_report_is_recorded(tmp_path, monkeypatch):
    """The report's files go to the artifacts, and what was measured of the export to the metrics."""
    logged = {}
    monkeypatch.setattr(tracking.Run, "_start", lambda *_: None)
    monkeypatch.setattr(tracking.mlflow, "log_metrics", logged.update)
    monkeypatch.setattr(tracking.mlflow, "log_artifacts", lambda *paths: logged.update(artifacts=paths))
    with tracking.Run(None, parse([])[0], {}) as run:
        run.reported(tmp_path, {"latency_ms_1": 0.5})
    assert logged == {"latency_ms_1": 0.5, "artifacts": (str(tmp_path), "report")}


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow under SQLAlchemy 2.1
def test_trials_are_runs_within_the_run(tmp_path, monkeypatch):
    """Each has its settings and a figure an epoch; what is found is in the tags of the training."""
    monkeypatch.setattr(tracking, "_LOCAL", tmp_path)
    settings = {"fit.learning_rate": 0.01, "network.hidden": [8, 4]}
    with tracking.Run(None, parse([])[0], {}) as run:
        run.trial(1, settings, "accuracy", [0.5, 0.75], "complete")
        run.searched(settings)
    client = tracking.mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    runs = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    trial, parent = runs.pop("trial-1"), client.get_run(run.id)
    assert trial.data.tags["mlflow.parentRunId"] == run.id
    assert trial.data.tags["search.ended"] == "complete"
    assert trial.data.params == {"fit.learning_rate": "0.01", "network.hidden": "[8, 4]"}
    assert [each.value for each in client.get_metric_history(trial.info.run_id, "accuracy")] == [0.5, 0.75]
    assert parent.data.tags["override.network.hidden"] == "[8, 4]"
