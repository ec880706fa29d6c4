import re

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.validation import problems


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int


class Outer(BaseModel):
    inner: list[Inner]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (
            {"inner": [{"count": "x", "size": 1}]},
            r"inner\.0\.count: Input should be .*; inner\.0\.size: no such setting",
        ),
        ([], "Input should be a valid dictionary or instance of Outer"),
    ],
)
def test_every_problem_is_in_one_line(value, line):
    """Each is named by its place, one about the whole has no name."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    assert re.fullmatch(line, problems(caught.value))
