"""A SavedModel in a session of its own, as TensorFlow Serving holds it; TensorFlow is imported here alone."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions

from serving.embedded.errors import (
    DuplicateOutput,
    InputCountMismatch,
    MissingInput,
    ModelError,
    SignatureNotFound,
    UnknownInput,
    UnknownOutput,
    WrongType,
)
from serving.embedded.servable import Call, Execute
from serving.wire.codec import Array, element_type_of, to_numpy
from serving.wire.tensorflow_pb2 import DataType, SignatureDef

v1 = tf.compat.v1

# TensorFlow's codes are gRPC's.
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_TENSORFLOW_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
# Many outputs can be selected in very many ways, and each callable keeps memory.
_MAX_CALLABLES = 64


def load(directory: Path, *, intra_op_threads: int, inter_op_threads: int) -> "SavedModel":
    """The SavedModel in `directory`, of TF1 or TF2, by its tag `serve`; raises ModelError.

    The threads are ConfigProto's: those that share one operation's work, and those that run operations side by side.
    """
    config = v1.ConfigProto(
        intra_op_parallelism_threads=intra_op_threads,
        inter_op_parallelism_threads=inter_op_threads,
        allow_soft_placement=True,  # what was exported on a GPU runs without one
    )
    with ExitStack() as undo:
        session = undo.enter_context(closing(v1.Session(graph=v1.Graph(), config=config)))
        try:
            with _tensorflow_errors(), session.graph.as_default():
                meta_graph = v1.saved_model.load(session, [v1.saved_model.SERVING], str(directory))
        except (OSError, RuntimeError, ValueError) as error:
            # The loader's own: no file or a broken one, no such tag, no variables.
            raise ModelError(grpc.StatusCode.INTERNAL, str(error)) from error
        definitions = meta_graph.signature_def.items()
        model = SavedModel(
            session, {key: SignatureDef.FromString(proto.SerializeToString()) for key, proto in definitions}
        )
        undo.pop_all()
        return model


def records(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file; raises ModelError where it is damaged."""
    with _tensorflow_errors():
        yield from v1.io.tf_record_iterator(str(file))


class RecordFile:
    """A TFRecord file that is being written; raises ModelError if it cannot be."""

    def __init__(self, file: Path) -> None:
        with _tensorflow_errors():
            self._writer = tf.io.TFRecordWriter(str(file))

    def write(self, record: bytes) -> None:
        """Appends a record."""
        with _tensorflow_errors():
            self._writer.write(record)

    def close(self) -> None:
        """Writes what is left."""
        with _tensorflow_errors():
            self._writer.close()


class SavedModel:
    """A loaded model: a Servable."""

    def __init__(self, session: Any, signatures: Mapping[str, SignatureDef]) -> None:
        self.signatures = signatures
        self._session = session
        self._runners = {key: _Runner(session, key, definition) for key, definition in signatures.items()}

    def prepare(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Call:
        """A call of a signature for `outputs` (all if empty).

        Shapes are TensorFlow's to judge, so that one that merely fits, as (1,) for (None, 1), is served as TFS does.
        Raises SignatureNotFound or what is wrong with inputs or outputs; to run it, ModelError with TensorFlow's code
        and text.
        """
        try:
            runner = self._runners[signature]
        except KeyError:
            raise SignatureNotFound(signature) from None
        return runner.prepare(inputs, outputs)

    def close(self) -> None:
        """Closes the session and frees its memory."""
        self._runners.clear()
        self._session.close()
        del self._session
        # A graph is full of cycles.
        gc.collect()


class _Runner:
    """Checks a call of one signature as TFS does (predict_util.cc) and runs it."""

    def __init__(self, session: Any, key: str, signature: SignatureDef) -> None:
        self._key = key
        # TFS counts the tensors that are fed in the order of their names in the graph.
        self._inputs = dict(sorted(signature.inputs.items(), key=lambda item: item[1].name))
        self._types = [info.dtype for info in self._inputs.values()]
        self._outputs = {alias: info.name for alias, info in sorted(signature.outputs.items())}
        self._defaults = {alias: to_numpy(proto) for alias, proto in signature.defaults.items()}
        feeds = [info.name for info in self._inputs.values()]

        @lru_cache(_MAX_CALLABLES)
        def execute_for(fetches: tuple[str, ...]) -> Execute:
            # Private, but what TFS does: Session.run and make_callable refuse shapes that TFS leaves to the graph, and
            # take several times as long as a small model.
            with _tensorflow_errors():
                made = session._make_callable_from_options(  # noqa: SLF001
                    CallableOptions(feed=feeds, fetch=fetches)
                )
            return partial(_execute, made)

        self._execute_for = execute_for
        self._all: Call | None = None
        # Now rather than in the first call; what cannot be fetched (an initialisation op) fails when asked for.
        with suppress(ModelError):
            self._all = self._call([], self._outputs)

    def prepare(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Call:
        arguments = self._arguments(inputs)
        fetches = self._fetches(outputs)
        self._check_types(arguments)
        if self._all and fetches is self._outputs:
            key, _, aliases, execute = self._all
            return Call(key, arguments, aliases, execute)
        return self._call(arguments, fetches)

    def _call(self, arguments: Sequence[Array], fetches: Mapping[str, str]) -> Call:
        tensors = tuple(fetches.values())
        return Call((self._key, tensors), arguments, tuple(fetches), self._execute_for(tensors))

    def _arguments(self, inputs: Mapping[str, Array]) -> list[Array]:
        expected, defaults = self._inputs.keys(), self._defaults
        if inputs.keys() == expected:
            return [inputs[alias] for alias in expected]
        if len(inputs) > len(expected) or (len(inputs) < len(expected) and not defaults):
            raise InputCountMismatch(inputs.keys(), expected)
        for alias in inputs:
            if alias not in expected:
                raise UnknownInput(alias, expected)
        for alias, info in self._inputs.items():
            if alias not in inputs and alias not in defaults:
                raise MissingInput(alias, info.name, inputs.keys(), defaults.keys())
        return [inputs[alias] if alias in inputs else defaults[alias] for alias in expected]

    def _fetches(self, outputs: Sequence[str]) -> dict[str, str]:
        if not outputs:
            return self._outputs
        fetches = {}
        for alias in outputs:
            if alias not in self._outputs:
                raise UnknownOutput(alias, self._outputs)
            if alias in fetches:
                raise DuplicateOutput(alias)
            fetches[alias] = self._outputs[alias]
        return dict(sorted(fetches.items()))

    def _check_types(self, arguments: Sequence[Array]) -> None:
        for index, argument in enumerate(arguments):
            given, expected = element_type_of(argument), self._types[index]
            if given.code != expected:
                raise WrongType(index, DataType.Name(expected).removeprefix("DT_").lower(), given.name)


def _execute(run: Callable[..., list[Any]], arguments: Sequence[Array]) -> list[Array]:
    try:
        return [_array(value) for value in run(*arguments)]
    except _TENSORFLOW_ERRORS as error:
        raise _model_error(error) from error


def _array(value: Any) -> Array:
    # A scalar comes back as numpy's or, a string, as bytes, which numpy would strip of trailing zeros.
    return np.asarray(value, object if isinstance(value, bytes) else None)


@contextmanager
def _tensorflow_errors() -> Iterator[None]:
    try:
        yield
    except _TENSORFLOW_ERRORS as error:
        raise _model_error(error) from error


def _model_error(error: Exception) -> ModelError:
    if isinstance(error, UnicodeDecodeError):
        # TensorFlow's text quotes a string of the request that is no UTF-8, and its code is lost in saying so.
        return ModelError(grpc.StatusCode.INVALID_ARGUMENT, error.object.decode(errors="replace"))
    return ModelError(_CODES[error.error_code], error.message)  # type: ignore[attr-defined]  # an OpError
