"""Captured requests, read from files."""

from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
from google.protobuf.message import DecodeError

from gateway.capture.files import SUFFIX
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.tfrecord import RecordError, records


class CorpusError(Exception):
    """There is nothing to send, or it cannot be read."""


def read(paths: Sequence[str], *, whole: bool = True) -> Iterator[tfs.PredictLog]:
    """The requests with their answers, in the order of the files; CorpusError names what is wrong with one.

    A path is a TFRecord file of PredictionLog, a directory or bucket of captured ones, or a pattern; warm-up files are
    such files too, whose answers are empty. Records of other methods than Predict are passed over; with `whole` they
    must have all inputs.
    """
    for path in paths:
        for files, name in _files(path):
            try:
                with files.open(name, "rb") as file:
                    yield from _predictions(records(file), name, whole=whole)
            except OSError as error:
                raise CorpusError(f"{name} cannot be read: {error.strerror or error}") from error
            except RecordError as error:
                raise CorpusError(f"{name}: {error}") from error


def _predictions(found: Iterator[bytes], name: str, *, whole: bool) -> Iterator[tfs.PredictLog]:
    for number, record in enumerate(found, 1):
        try:
            log = tfs.PredictionLog.FromString(record)
        except DecodeError as error:
            raise CorpusError(f"{name}: record {number} is no PredictionLog") from error
        if log.WhichOneof("log_type") != "predict_log":
            continue
        if whole and not log.predict_log.request.inputs:
            raise CorpusError(
                f"{name}: record {number} has no inputs; expected ones captured with `capture.inputs: full`"
            )
        yield log.predict_log


def _files(path: str) -> list[tuple[Any, str]]:
    try:
        files, name = fsspec.core.url_to_fs(path)
        names = files.find(name) if files.isdir(name) else None
        if names is not None:
            names = [each for each in names if each.endswith(SUFFIX)]
        elif any(character in name for character in "*?["):
            names = files.glob(name)
        else:
            names = [name]
    except (ImportError, ValueError, OSError) as error:
        raise CorpusError(f"{path}: {error}") from error
    if not names:
        raise CorpusError(f"{path} holds no captured requests (*{SUFFIX})")
    return [(files, each) for each in sorted(names)]
