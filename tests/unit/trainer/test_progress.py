from trainer import progress


def test_a_line_per_epoch_where_there_is_no_terminal(caplog, monkeypatch):
    """A log gets one line for each epoch, with its figures."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    caplog.set_level("INFO", "trainer")
    with progress.epochs(2) as show:
        show(1, {"train_loss": 0.5})
        show(2, {"train_loss": 0.25})
    assert caplog.messages == ["epoch 1/2: train loss 0.5000", "epoch 2/2: train loss 0.2500"]


def test_a_bar_on_a_terminal(capsys, caplog, monkeypatch):
    """A terminal gets a bar on stderr instead, and stdout nothing."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress.epochs(2) as show:
        show(1, {"train_loss": 1.0, "heldout_accuracy": 0.5})
    out, error = capsys.readouterr()
    assert "epochs, heldout accuracy 0.5000" in error
    assert out == ""
    assert caplog.messages == []
