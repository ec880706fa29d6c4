"""A SavedModel in a session of its own, as TensorFlow Serving holds it; TensorFlow is imported here alone."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache
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
from serving.wire.codec import Array, element_type_of, to_numpy
from serving.wire.tensorflow_pb2 import DataType, SignatureDef

v1 = tf.compat.v1

# TensorFlow's codes are gRPC's.
_CODES = {code.value[0]: code for code in grpc.StatusCode}
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


class SavedModel:
    """A loaded model: a Servable."""

    def __init__(self, session: Any, signatures: Mapping[str, SignatureDef]) -> None:
        self.signatures = signatures
        self._session = session
        self._runners = {key: _Runner(session, definition) for key, definition in signatures.items()}

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """The `outputs` (all if empty) of a signature for `inputs`, by alias.

        Shapes are TensorFlow's to judge, so that one that merely fits, as (1,) for (None, 1), is served as TFS does.
        Raises SignatureNotFound, what is wrong with inputs or outputs, or ModelError with TensorFlow's code and text.
        """
        try:
            runner = self._runners[signature]
        except KeyError:
            raise SignatureNotFound(signature) from None
        return runner.run(inputs, outputs)

    def close(self) -> None:
        """Closes the session and frees its memory."""
        self._runners.clear()
        self._session.close()
        del self._session
        # A graph is full of cycles.
        gc.collect()


class _Runner:
    """Checks a call of one signature as TFS does (predict_util.cc) and runs it."""

    def __init__(self, session: Any, signature: SignatureDef) -> None:
        # TFS counts the tensors that are fed in the order of their names in the graph.
        self._inputs = dict(sorted(signature.inputs.items(), key=lambda item: item[1].name))
        self._outputs = {alias: info.name for alias, info in sorted(signature.outputs.items())}
        self._defaults = {alias: to_numpy(proto) for alias, proto in signature.defaults.items()}
        feeds = [info.name for info in self._inputs.values()]

        @lru_cache(_MAX_CALLABLES)
        def callable_for(fetches: tuple[str, ...]) -> Callable[..., list[Any]]:
            # Private, but what TFS does: Session.run and make_callable refuse shapes that TFS leaves to the graph, and
            # take several times as long as a small model.
            made: Callable[..., list[Any]] = session._make_callable_from_options(  # noqa: SLF001
                CallableOptions(feed=feeds, fetch=fetches)
            )
            return made

        self._callable_for = callable_for
        # Now rather than in the first call; what cannot be fetched (an initialisation op) fails when asked for.
        with suppress(ModelError), _tensorflow_errors():
            callable_for(tuple(self._outputs.values()))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        arguments = self._arguments(inputs)
        fetches = self._fetches(outputs)
        self._check_types(arguments)
        with _tensorflow_errors():
            values = self._callable_for(tuple(fetches.values()))(*arguments)
        return {alias: _array(value) for alias, value in zip(fetches, values, strict=True)}

    def _arguments(self, inputs: Mapping[str, Array]) -> list[Array]:
        expected, defaults = self._inputs.keys(), self._defaults
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
        for index, (info, argument) in enumerate(zip(self._inputs.values(), arguments, strict=True)):
            given = element_type_of(argument)
            if given.code != info.dtype:
                raise WrongType(index, DataType.Name(info.dtype).removeprefix("DT_").lower(), given.name)


def _array(value: Any) -> Array:
    # A scalar comes back as numpy's or, a string, as bytes, which numpy would strip of trailing zeros.
    return np.asarray(value, object if isinstance(value, bytes) else None)


@contextmanager
def _tensorflow_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        raise ModelError(_CODES[error.error_code], error.message) from error
    except UnicodeDecodeError as error:
        # TensorFlow's text quotes a string of the request that is no UTF-8, and its code is lost in saying so.
        raise ModelError(grpc.StatusCode.INVALID_ARGUMENT, error.object.decode(errors="replace")) from error
