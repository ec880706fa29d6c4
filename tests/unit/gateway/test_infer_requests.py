"""gateway.servicers.infer_requests"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.servicers import open_inference_tensors as tensors
from gateway.servicers.infer_requests import InferRequest, InferRequests, Wanted
from serving.wire import open_inference_pb2 as oip

INPUTS = st.builds(
    oip.ModelInferRequest.InferInputTensor,
    name=st.sampled_from("xy"),
    datatype=st.sampled_from(["UINT8", "UINT8", "BOOL", "BYTES", "?"]),
    shape=st.sampled_from([[20], [4, 5], [1]]),
)
RAW = st.one_of(st.just(bytes(20)), st.binary(min_size=20, max_size=20), st.just(bytes(4)))
REQUESTS = st.builds(
    oip.ModelInferRequest,
    model_name=st.text(max_size=4),
    model_version=st.sampled_from(["", "1"]),
    id=st.sampled_from(["", "7"]),
    inputs=st.lists(INPUTS, min_size=1, max_size=2),
    raw_input_contents=st.lists(RAW, max_size=2),
    parameters=st.sampled_from([{}, {"signature_name": oip.InferParameter(string_param="s")}]),
    outputs=st.sampled_from(
        [
            [],
            [oip.ModelInferRequest.InferRequestedOutputTensor(name="p")],
            [
                oip.ModelInferRequest.InferRequestedOutputTensor(
                    name="p", parameters={"classification": oip.InferParameter(int64_param=1)}
                )
            ],
        ]
    ),
)


def inputs(asked: InferRequest) -> Any:
    """The inputs as something that can be compared, or what is wrong with them."""
    try:
        return {name: (array.dtype, array.shape, array.tolist()) for name, array in asked.inputs().items()}
    except InvalidInput as error:
        return error.message, error.field


@given(st.lists(REQUESTS, min_size=1, max_size=3), st.binary(min_size=20, max_size=20))
def test_as_if_parsed(requests: list[oip.ModelInferRequest], payload: bytes) -> None:
    """Whatever was read before, a request is read as parsing it gives: the same, with other payloads, and others."""
    reader = InferRequests()
    for _ in range(3):
        for request in requests:
            other = oip.ModelInferRequest.FromString(request.SerializeToString())
            other.raw_input_contents[:] = [payload[: len(raw)] for raw in request.raw_input_contents]
            for asked in (request, other):
                raw = asked.SerializeToString()
                read, parsed = reader.read(raw), InferRequests().read(raw)
                assert read._replace(inputs=dict) == parsed._replace(inputs=dict)
                assert inputs(read) == inputs(parsed)
                try:
                    expected: Any = tensors.inputs(asked).keys()
                except InvalidInput as error:
                    expected = error.message, error.field
                    assert inputs(read) == expected
                else:
                    assert inputs(read).keys() == expected


@pytest.mark.parametrize("request_id", ["", "i"])
def test_what_is_read(request_id: str) -> None:
    """Of a known request too all that it says is read; one with an id is parsed."""
    request = oip.ModelInferRequest(
        model_name="m", model_version="2", id=request_id, raw_input_contents=[bytes(range(20))]
    )
    request.inputs.add(name="x", datatype="UINT8", shape=[2, 10])
    request.outputs.add(name="p")
    request.outputs.add(name="q").parameters["classification"].int64_param = 3
    request.parameters["signature_name"].string_param = "s"
    reader = InferRequests()
    for _ in range(3):
        read = reader.read(request.SerializeToString())
        expected = ("m", "2", request_id, "s", [Wanted("p", ""), Wanted("q", "classification")], True)
        assert read[:-1] == expected
        assert read.inputs()["x"].tolist() == [list(range(10)), list(range(10, 20))]
