import numpy as np
import pytest

from trainer.checkpoint import Checkpoint
from trainer.errors import TrainingError

ARRAYS = {"a": np.arange(3.0), "b": np.array(2)}


def test_what_was_saved_last_is_loaded(tmp_path):
    """Arrays come back by name, of the last save."""
    Checkpoint(tmp_path, "k", resume=False).save({"a": np.zeros(3)})
    Checkpoint(tmp_path, "k", resume=False).save(ARRAYS)
    loaded = Checkpoint(tmp_path, "k", resume=True).load()
    assert {name: array.tolist() for name, array in loaded.items()} == {"a": [0, 1, 2], "b": 2}
    assert len(list(tmp_path.iterdir())) == 1


def test_only_who_asks_for_it_resumes(tmp_path, caplog):
    """A new run, or another recipe or data, starts at the first epoch; a run to be resumed says so."""
    caplog.set_level("INFO", "trainer")
    checkpoint = Checkpoint(tmp_path, "k", resume=False)
    checkpoint.save(ARRAYS)
    assert checkpoint.load() == {}
    assert caplog.messages == []
    assert Checkpoint(tmp_path, "other", resume=True).load() == {}
    assert "starting at the first epoch" in caplog.text


def test_a_checkpoint_that_cannot_be_written_is_said(tmp_path):
    """A disk that is full or gone ends the run in one line."""
    with pytest.raises(TrainingError, match=r"cannot save .*: No such file"):
        Checkpoint(tmp_path / "gone", "k", resume=False).save(ARRAYS)


def test_a_run_that_ended_well_leaves_nothing(tmp_path):
    """Servers and people find versions in the store, and nothing else."""
    checkpoint = Checkpoint(tmp_path, "k", resume=False)
    checkpoint.save(ARRAYS)
    checkpoint.remove()
    checkpoint.remove()
    assert not list(tmp_path.iterdir())
