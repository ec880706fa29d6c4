"""Redaction as somebody would write it."""

from serving.wire import tensorflow_serving_pb2 as tfs


def second_only(log: tfs.PredictionLog) -> tfs.PredictionLog | None:
    """Keeps requests of two rows, without their inputs."""
    if log.predict_log.request.inputs["image"].tensor_shape.dim[0].size != 2:
        return None
    log.predict_log.request.ClearField("inputs")
    return log


def broken(log: tfs.PredictionLog) -> tfs.PredictionLog:
    """Fails."""
    raise KeyError("no such field")


NO_FUNCTION = 1
