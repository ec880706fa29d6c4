from trainer import quiet


def test_what_is_set_already_stays():
    """Who sets a log level for TensorFlow keeps it."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    quiet.configure(environment)
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert environment["MLFLOW_LOGGING_LEVEL"] == "ERROR"
