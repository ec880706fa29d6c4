"""tensorgate.monitoring and tensorgate.channel"""

import argparse

import pytest

from tensorgate.channel import metadata
from tensorgate.monitoring import Figure, drift, qualities, quality_request
from tensorgate.target_arguments import add_arguments, metadata_of
from tensorgate.v1 import drift_service_pb2 as drift_pb
from tensorgate.v1 import quality_service_pb2 as pb


def test_qualities() -> None:
    """Each figure by name with its interval, of classes, of values, and of none."""
    coverage = pb.QualityFigure(value=0.5, low=0.25, high=0.75)
    classes = pb.ClassificationQuality(accuracy=coverage, macro_f1=pb.QualityFigure(value=0))
    values = pb.RegressionQuality(rmse=pb.QualityFigure(value=2), bias=pb.QualityFigure(value=-1))
    common = {"version": 3, "variant": "candidate", "window": pb.QUALITY_WINDOW_DAY, "label_coverage": coverage}
    estimate = pb.EstimatedAccuracy(accuracy=coverage)
    messages = [
        pb.Quality(**common, classification=classes, estimated_accuracy=estimate),
        pb.Quality(**common, regression=values),
        pb.Quality(**common),
    ]
    one, two, three = qualities(pb.GetQualityResponse(model="digits", qualities=messages))
    assert (one.model, one.version, one.variant, one.window) == ("digits", 3, "candidate", "24h")
    assert one.coverage == one.figures["accuracy"] == one.estimated_accuracy == Figure(0.5, 0.25, 0.75)
    assert one.figures["macro_f1"] == Figure(0)
    assert set(one.figures) == {"accuracy", "macro_f1", "log_loss", "brier", "calibration_error"}
    assert {name: figure.value for name, figure in two.figures.items()} == {"rmse": 2, "mae": 0, "bias": -1}
    assert (three.figures, three.estimated_accuracy) == ({}, None)


def test_windows() -> None:
    """A window goes by its name; one that there is not is told so before anybody is asked."""
    assert quality_request("digits", 2, "7d") == pb.GetQualityRequest(model="digits", version=2, window=3)
    assert quality_request("", 0, "") == pb.GetQualityRequest()
    with pytest.raises(ValueError, match="no window 'week'; expected 1h, 24h, 7d, all"):
        quality_request("", 0, "week")


def test_drift() -> None:
    """The state is a word, and the features that have drifted are named."""
    alarms = [drift_pb.DriftAlarm(feature="ink_share")]
    found = drift(
        drift_pb.GetDriftResponse(model="digits", version=1, state=drift_pb.DRIFT_STATE_DRIFTED, alarms=alarms)
    )
    assert (found.state, found.drifted) == ("drifted", ("ink_share",))
    assert drift(drift_pb.GetDriftResponse(state=drift_pb.DRIFT_STATE_NO_REFERENCE)).state == "no_reference"


def test_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go with the key; the command line's win over the environment's, and values may hold anything printable."""
    monkeypatch.setenv("TENSORGATE_METADATA", "x-one=1\nX-Two=a=b\n")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["--metadata", "x-one=Bearer x.y"])
    found = metadata_of(options)
    assert found == {"x-one": "Bearer x.y", "x-two": "a=b"}
    assert metadata("k", found) == (("authorization", "Bearer k"), ("x-one", "Bearer x.y"), ("x-two", "a=b"))
    assert metadata(None) == ()
    with pytest.raises(ValueError, match="metadata without `=`: expected NAME=VALUE"):
        metadata_of(parser.parse_args(["--metadata", "token"]))


@pytest.mark.parametrize(("name", "value"), [("x y", "1"), ("", "1"), ("x", "1\n"), ("x", "é"), ("x-bin", "1")])
def test_metadata_that_cannot_be_sent(name: str, value: str) -> None:
    """What gRPC would refuse without a word is named."""
    with pytest.raises(ValueError, match="cannot be sent: expected"):
        metadata("k", {name: value})
