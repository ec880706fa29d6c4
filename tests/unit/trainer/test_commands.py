import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from trainer import commands, tracking
from trainer.errors import TrainingError
from trainer.record import Record, Records, Version
from trainer.registry import Registry

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Nothing waits to be uploaded from an empty directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def name(store, request):
    """A model with two versions, whose runs recorded nothing else."""
    client, name = MlflowClient(store), request.node.name.partition("[")[0]
    experiment = client.create_experiment(name)
    for number in ("3", "4"):
        run_id = client.create_run(experiment).info.run_id
        tags = {"figures.accuracy": f"0.9{number}1", "data_hash": "0123456789abcdef"}
        version = Version(number=number, path=f"/s/{number}", tags=tags, promote=False)
        Registry(client).register(name, run_id, f"/artifacts/{run_id}/model", version)
    return name


def test_versions_are_listed_newest_first(store, name):
    """Registry version, version in the store, aliases, headline figures, data and date."""
    caption, header, *rows = commands.listing(store, name).splitlines()
    assert caption == name
    assert header.split() == ["version", "store", "aliases", "accuracy", "data", "registered", "(UTC)"]
    assert [row.split()[:5] for row in rows] == [
        ["2", "4", "challenger", "0.9410", "0123456789ab"],
        ["1", "3", "champion", "0.9310", "0123456789ab"],
    ]


def test_runs_that_wait_are_said(store, name, caplog):
    """Somebody who looks for a version hears that some are not there yet."""
    caplog.set_level("INFO", "trainer")
    record, records = Record(model="m", uri="u", params={}, tags={}), Records(tracking.PENDING)
    with records.begun(record):
        records.complete(record)
    commands.listing(store, name)
    assert "runs that MLflow does not have yet: 1;" in caplog.text


def test_an_empty_registry(store, monkeypatch):
    """There is nothing to list, and nothing to promote, roll back or compare."""
    monkeypatch.setattr(Registry, "models", lambda _: [])
    assert commands.listing(store, None) == "no model is registered yet"
    for command in (
        lambda: commands.promote(store, None, "1"),
        lambda: commands.rollback(store, None),
        lambda: commands.compare(store, None, "1", "2"),
    ):
        with pytest.raises(TrainingError, match="no model is registered yet"):
            command()


def test_a_model_that_nobody_registered(store):
    """Its name is said."""
    with pytest.raises(TrainingError, match="no model is registered as nobody"):
        commands.listing(store, "nobody")


def test_one_of_several_models_has_to_be_named(store, name, client):
    """Which there are is said."""
    client.create_registered_model(f"{name}_2", tags={"tensorgate.trainer": "true"})
    with pytest.raises(TrainingError, match=rf"several models are registered \(.*{name}, {name}_2.*\): say which"):
        commands.rollback(store, None)
    assert commands.promote(store, name, "2") == (
        f"{name}: the champion is version 2 (in the store 4), before version 1 (in the store 3)"
    )
    assert commands.promote(store, name, "champion") == f"{name}: the champion is version 2 (in the store 4)"


def test_a_run_without_a_recipe_cannot_be_used(store, name, client):
    """Nothing to compare with or to reproduce: the run is said."""
    with pytest.raises(TrainingError, match=r"the run \w+ has no recipe.json"):
        commands.compare(store, name, "1", "2")
    run_id = Registry(client).find(name, "1").run_id
    with pytest.raises(TrainingError, match=rf"the run {run_id} has no recipe.json"):
        commands.reproduce(store, run_id)


def test_what_mlflow_does_not_take_is_kept(store):
    """A record that cannot be uploaded stays, and the command fails."""
    record, records = Record(model="m", uri="u", params={}, tags={}), Records(tracking.PENDING)
    with records.begun(record):
        kept = records.complete(record)
    with pytest.raises(TrainingError, match="MLflow at nowhere://"):
        commands.sync("nowhere://")
    assert records.kept() == [kept]
    assert len(commands.sync(store)) == 1
    assert commands.sync(store) == []


def test_commands_that_need_no_tensorflow_do_without():
    """It takes ten seconds to import."""
    code = "import sys, trainer.commands; assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
