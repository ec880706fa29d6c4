"""Rows of a table and the contract of a fake model that takes them, without TensorFlow."""

import json

from serving.contract import Contract, Golden, InputSpec, Postprocessing
from serving.preprocessing import Step, build

STEPS = (
    Step(
        name="select",
        parameters={
            "columns": [
                {"name": "age", "type": "number", "nullable": True},
                {"name": "city", "type": "string"},
                {"name": "member", "type": "boolean"},
            ]
        },
    ),
    Step(name="impute", parameters={"values": {"age": 40.0}}),
    Step(name="one_hot", parameters={"columns": {"city": ["Oslo", "Rome"]}}),
    Step(name="assemble", parameters={"columns": ["age", "city=Oslo", "city=Rome", "member"]}),
)
ROW = {"age": 20.0, "city": "Rome", "member": True}
TENSOR = [20.0, 0.0, 1.0, 1.0]


def contract(**changes: object) -> Contract:
    """A valid contract of a model that gives its input back, with a golden vector; `changes` replace its fields."""
    encoded = json.dumps(ROW).encode()
    golden = Golden(encoded=encoded, tensor=build(STEPS)(encoded).astype("<f4").tobytes(), tolerance=0)
    fields: dict[str, object] = {
        "name": "people",
        "input": InputSpec(name="features", dtype="float32", shape=(4,)),
        "preprocessing": STEPS,
        "golden": (golden,),
        "postprocessing": Postprocessing(task="raw"),
    }
    return Contract.model_validate(fields | changes)
