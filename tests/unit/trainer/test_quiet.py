import os

from trainer import quiet


def test_what_is_set_already_stays():
    """Who sets a log level for TensorFlow keeps it."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    quiet.configure(environment)
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert environment["MLFLOW_LOGGING_LEVEL"] == "ERROR"


def test_native_stderr_is_dropped_and_comes_back(capfd):
    """Only what is written within is lost."""
    with quiet.native_stderr():
        os.write(2, b"chatter")
    os.write(2, b"error")
    assert capfd.readouterr().err == "error"
