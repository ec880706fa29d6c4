"""tensorgate.rows"""

from pathlib import Path

import pytest

from tensorgate.rows import read
from tensorgate.v1 import model_pb2

COLUMNS = [
    model_pb2.Column(name="age", type=model_pb2.COLUMN_TYPE_NUMBER),
    model_pb2.Column(name="city", type=model_pb2.COLUMN_TYPE_STRING),
    model_pb2.Column(name="member", type=model_pb2.COLUMN_TYPE_BOOLEAN),
]


def test_csv(tmp_path: Path) -> None:
    """Cells are read as the columns say; what is no such value stays text, and other columns are left out."""
    file = tmp_path / "t.csv"
    file.write_bytes('\ufeffage,city,member,x\n3,5,True,9\n,"a\nb",no,\nold,,0\n'.encode())
    assert list(read(str(file), COLUMNS)) == [
        (2, {"age": 3.0, "city": "5", "member": True}),
        (4, {"age": None, "city": "a\nb", "member": "no"}),
        (5, {"age": "old", "city": None, "member": False}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"a": 1}\n[]', "line 2: expected an object"),
        ("t.jsonl", b"{", "line 1 is not JSON"),
        ("t.csv", b"age\n\xff", "codec can't decode"),
        ("t.csv", b"age\n" + b"1" * 200_000, "field larger"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The line is said."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read(str(tmp_path / name), COLUMNS))
