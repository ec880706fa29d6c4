"""gateway.servicers.predict_requests: read as parsed, whatever came before."""

import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.instances import Image, Pixels, Record, Tensors
from gateway.predictor import Query
from gateway.servicers import predict_requests
from gateway.servicers.predict_requests import PredictRequests
from serving.wire import moulds
from tensorgate.v1 import inference_service_pb2 as pb
from tensorgate.v1 import tensor_pb2

PAYLOADS = st.one_of(st.binary(max_size=80), st.sampled_from([bytes(32), b"\x0a" * 20, bytes(1000), bytes(3136)]))


def tensor(data: bytes, strings: int = 0) -> pb.Instance:
    """A tensor of bytes, which reads well unless there are strings too."""
    values = [b"s"] * strings
    return pb.Instance(
        tensor=tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[len(data)], data=data, string_values=values)
    )


def pixels(data: bytes, channels: int = 0) -> pb.Instance:
    """A line of pixels, which reads well if there are any and no channels beside."""
    return pb.Instance(pixels=pb.Pixels(data=data, height=1, width=len(data), channels=channels))


INSTANCES = st.one_of(
    st.builds(lambda data: pb.Instance(image=data), PAYLOADS),
    st.builds(pixels, PAYLOADS, st.sampled_from([0, 0, 3])),
    st.builds(tensor, PAYLOADS, st.sampled_from([0, 0, 1])),
    st.just(pb.Instance()),
    st.builds(lambda data: pb.Instance(tensors=tensor_pb2.NamedTensors(tensors={"x": tensor(data).tensor})), PAYLOADS),
)
REQUESTS = st.builds(
    pb.PredictRequest,
    model=st.text(max_size=4),
    version=st.integers(0, 3),
    signature=st.sampled_from(["", "s"]),
    instances=st.lists(INSTANCES, max_size=4),
    top_k=st.integers(-1, 3),
)


def plain(query: Query) -> Any:
    """A query as something that can be compared."""

    def instance(one: object) -> object:
        if isinstance(one, GatewayError):
            return type(one), one.message
        if isinstance(one, Pixels):
            return one.array.shape, one.array.tobytes()
        if isinstance(one, Tensors):
            return {name: (array.dtype, array.shape, array.tobytes()) for name, array in one.values.items()}
        assert isinstance(one, Image | Record)
        return one

    return query._replace(instances=[instance(one) for one in query.instances])


def other(request: pb.PredictRequest, fill: bytes) -> pb.PredictRequest:
    """The request with other payloads."""
    changed = pb.PredictRequest.FromString(request.SerializeToString())
    for one in changed.instances:
        if one.HasField("image"):
            one.image = (fill * len(one.image))[: len(one.image)]
        elif one.HasField("pixels"):
            one.pixels.data = (fill * len(one.pixels.data))[: len(one.pixels.data)]
        elif one.HasField("tensor"):
            one.tensor.data = (fill * len(one.tensor.data))[: len(one.tensor.data)]
    return changed


@given(st.lists(REQUESTS, min_size=1, max_size=3), st.binary(min_size=1, max_size=4))
@example([pb.PredictRequest(model="m", instances=[tensor(bytes(64))] * 3)], b"\x00")
def test_as_if_parsed(requests: list[pb.PredictRequest], fill: bytes) -> None:
    """Whatever was read before, a request is read as parsing it gives: the same, with other payloads, and others."""
    reader = PredictRequests()
    for _ in range(3):
        for request in requests:
            for asked in (request, other(request, fill)):
                raw = asked.SerializeToString()
                expected = predict_requests.query(pb.PredictRequest.FromString(raw))
                assert plain(reader.read(raw)) == plain(expected)


@given(st.data())
def test_altered(data: st.DataObject) -> None:
    """Bytes of a known length that differ anywhere from what is known say what they say, or nothing."""
    reader = PredictRequests()
    known = pb.PredictRequest(model="m", version=2, instances=[tensor(bytes(16)), pixels(bytes(16))], top_k=1)
    raw = bytearray(known.SerializeToString())
    for _ in range(2):
        reader.read(bytes(raw))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        expected: Any = plain(predict_requests.query(pb.PredictRequest.FromString(bytes(raw))))
    except Exception as error:
        expected = type(error)
    try:
        read: Any = plain(reader.read(bytes(raw)))
    except Exception as error:
        read = type(error)
    assert read == expected


def test_written_otherwise() -> None:
    """What a request says in another order of fields than ours is not mistaken for anything else."""
    reader = PredictRequests()
    image = pb.PredictRequest(instances=[pb.Instance(image=bytes(range(32)))]).SerializeToString()
    swapped = image + pb.PredictRequest(model="m").SerializeToString()
    for _ in range(3):
        assert reader.read(swapped) == Query("m", [Image(bytes(range(32)))])


@pytest.mark.parametrize("count", [1, 100])
def test_memory(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """However many payloads a request has, what is known of requests takes no more memory than it may."""
    monkeypatch.setattr(moulds, "_MAX_KNOWN", 1 << 20)
    requests = []
    for size in range(3000 // count):
        payload = bytes(size % 100 + 16)
        instances = ([tensor(payload), pixels(payload)] * count)[:count]
        requests.append(pb.PredictRequest(model="m" * size, instances=instances).SerializeToString())
    reader = PredictRequests()
    tracemalloc.start()
    for raw in requests:
        for _ in range(2):
            reader.read(raw)
    # Tuples that are free are kept for the next ones.
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 << 18 < used < (1 << 20) + 128 * moulds._MAX_LENGTHS
