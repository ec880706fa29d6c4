"""TensorFlow Serving's REST API: its own JSON, and images in place of tensors where the contract takes them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message

from gateway.backend import TensorSpec
from gateway.call import current_call
from gateway.catalog import DEFAULT_SIGNATURE, Catalog, Servable
from gateway.errors import BackendFailed, BackendStatus, GatewayError, InvalidInput
from gateway.predictor import Batch, Predictor
from gateway.rest.context import HttpContext
from gateway.router import route
from gateway.servicers.tf_serving import PassThrough, Request
from serving.rest import answers
from serving.rest.errors import SignatureNotDefined
from serving.rest.requests import PredictBody, read_examples, read_predict
from serving.wire import codec
from serving.wire import tensorflow_pb2 as tf
from serving.wire import tensorflow_serving_pb2 as tfs
from serving.wire.errors import InvalidArgument, ServingError

Result = TypeVar("Result")
Sent = TypeVar("Sent", bound=Message)

# What is smaller is read and written in less time than another thread takes to do so.
_SMALL_BYTES = 16 << 10
_IMAGE_FIELD = "inputs[0].contents"


class TensorFlowServingJson:
    """The five methods, each from a body to a body."""

    def __init__(
        self,
        pass_through: PassThrough,
        predictor: Predictor,
        catalog: Catalog,
        executor: Executor,
        *,
        default_timeout: float,
    ) -> None:
        self._pass_through = pass_through
        self._predictor = predictor
        self._catalog = catalog
        self._executor = executor
        self._default_timeout = default_timeout

    async def predict(self, body: bytes, context: HttpContext) -> bytes:
        """Tensors, in rows or in columns, as they were asked; images where the contract takes them."""
        spec = _spec(context)
        servable = await self._servable(spec)
        if servable is None:
            # Nobody to ask what the tensors' types are; the servicer says why.
            await self._pass_through.Predict(_request(tfs.PredictRequest(model_spec=spec)), context)
            raise BackendFailed("the model came up while it was being looked for; retry")
        inputs_of = _inputs_of(servable, images=b'"b64"' in body)
        with _told():
            read = await self._offload(len(body), lambda: read_predict(body, inputs_of))
        outputs = await (
            self._images(spec, read, servable) if _takes_images(servable, read) else self._tensors(spec, read, context)
        )
        write = answers.rows if read.rows else answers.columns
        size = sum(array.nbytes for array in outputs.values())
        with _told():
            return (await self._offload(size, lambda: write(outputs))).encode()

    async def classify(self, body: bytes, context: HttpContext) -> bytes:
        """Classes and scores for examples."""
        request = tfs.ClassificationRequest(model_spec=_spec(context))
        with _told():
            await self._offload(len(body), lambda: read_examples(body, request))
        answer = await self._pass_through.Classify(_request(request), context)
        return answers.classification(tfs.ClassificationResponse.FromString(answer).result).encode()

    async def regress(self, body: bytes, context: HttpContext) -> bytes:
        """A value for each example."""
        request = tfs.RegressionRequest(model_spec=_spec(context))
        with _told():
            await self._offload(len(body), lambda: read_examples(body, request))
        answer = await self._pass_through.Regress(_request(request), context)
        return answers.regression(tfs.RegressionResponse.FromString(answer).result).encode()

    async def status(self, _body: bytes, context: HttpContext) -> bytes:
        """The states of a model's versions."""
        request = tfs.GetModelStatusRequest(model_spec=_spec(context))
        answer = await self._pass_through.GetModelStatus(_request(request), context)
        return answers.status(tfs.GetModelStatusResponse.FromString(answer)).encode()

    async def metadata(self, _body: bytes, context: HttpContext) -> bytes:
        """A model's signatures."""
        request = tfs.GetModelMetadataRequest(model_spec=_spec(context), metadata_field=["signature_def"])
        answer = await self._pass_through.GetModelMetadata(_request(request), context)
        return answers.metadata(tfs.GetModelMetadataResponse.FromString(answer)).encode()

    async def _servable(self, spec: tfs.ModelSpec) -> Servable | None:
        """A version that says what the tensors' types are, or None if none can answer."""
        name = spec.name
        current_call.get().principal.require("predict", name)
        try:
            version = spec.version.value
            if spec.version_label and name in self._catalog.models:
                version = await self._catalog.labelled(name, spec.version_label)
            return route(self._catalog, name, version)
        except GatewayError:
            return None

    async def _tensors(self, spec: tfs.ModelSpec, read: PredictBody, context: HttpContext) -> Mapping[str, codec.Array]:
        request = read.message(spec)
        answer = tfs.PredictResponse.FromString(await self._pass_through.Predict(_request(request), context))
        try:
            return {alias: codec.to_numpy(proto) for alias, proto in answer.outputs.items()}
        except codec.TensorError as error:
            raise BackendFailed(f"the backend answered with a broken tensor: {error}") from error

    async def _images(self, spec: tfs.ModelSpec, read: PredictBody, servable: Servable) -> Mapping[str, codec.Array]:
        call = current_call.get()
        waiting = call.enter(servable.model)
        if waiting is not None:
            await waiting
        # The column form of one image is no list.
        inputs = {alias: array.reshape(-1) for alias, array in read.inputs.items()}
        version = servable.version if spec.HasField("version_label") else spec.version.value
        signature = read.signature or DEFAULT_SIGNATURE
        batch = Batch(servable.model, inputs, version, signature, call.sticky_key)
        try:
            inference = await self._predictor.infer(batch, call.deadline_within(self._default_timeout))
        except GatewayError as error:
            if error.field is not None:
                error.field = error.field.replace(_IMAGE_FIELD, "instances" if read.rows else "inputs")
            raise
        call.answered_by(inference.servable.version, inference.variant)
        call.instances = inference.rows
        return inference.outputs

    async def _offload(self, size: int, work: Callable[[], Result]) -> Result:
        if size <= _SMALL_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _spec(context: HttpContext) -> tfs.ModelSpec:
    assert context.target is not None
    return context.target.spec


def _request(message: Sent) -> Request[Sent]:
    return Request(message, message.SerializeToString())


def _inputs_of(servable: Servable, *, images: bool) -> Callable[[str], Mapping[str, tf.TensorInfo]]:
    """Looks up the types of a signature's inputs; `images` stand for the tensor where the contract takes them."""

    def inputs_of(key: str) -> Mapping[str, tf.TensorInfo]:
        signature = servable.signatures.get(key or DEFAULT_SIGNATURE)
        if signature is None:
            raise SignatureNotDefined(key or DEFAULT_SIGNATURE)
        if images and accepts_images(servable, signature.name):
            return {name: tf.TensorInfo(dtype=tf.DT_STRING) for name in signature.inputs}
        return {name: tf.TensorInfo(dtype=_type_code(spec)) for name, spec in signature.inputs.items()}

    return inputs_of


def _type_code(spec: TensorSpec) -> Any:
    try:
        return codec.element_type_of(np.empty(0, spec.dtype)).code
    except codec.TensorError:
        # Resources and the like, which no JSON can give.
        return tf.DT_INVALID


def accepts_images(servable: Servable, signature: str) -> bool:
    """Whether a signature takes encoded images in place of its tensor."""
    return (
        servable.contract is not None
        and servable.pipeline is not None
        and servable.pipeline.accepts_images
        and signature == servable.contract.signature
    )


def _takes_images(servable: Servable, read: PredictBody) -> bool:
    if not accepts_images(servable, read.signature or DEFAULT_SIGNATURE):
        return False
    return all(array.dtype.hasobject for array in read.inputs.values())


@contextmanager
def _told() -> Iterator[None]:
    """Tells the caller what is wrong with a body in the words of TensorFlow Serving."""
    try:
        yield
    except InvalidArgument as error:
        raise InvalidInput(error.text, reason="REQUEST_UNREADABLE") from error
    except ServingError as error:
        raise BackendStatus(error.code.name, error.text) from error
