"""serving.wire.tfrecord"""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.wire.tfrecord import RecordError, frame, records

RECORDS = [b"", b"one", bytes(range(256)) * 40]


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_records_come_back(content: list[bytes]) -> None:
    """Whatever is in them."""
    assert list(records(io.BytesIO(b"".join(map(frame, content))))) == content


def test_the_bytes_are_tensorflows() -> None:
    """What `tf.io.TFRecordWriter` makes of the same."""
    assert frame(b"one").hex() == "0300000000000000b099490e6f6e6501405508"


@given(st.data())
def test_damage_is_found(data: st.DataObject) -> None:
    """Wherever a bit falls over, or the file ends: an error that names the record, and never other records."""
    whole = b"".join(map(frame, RECORDS))
    if data.draw(st.booleans()):
        end = data.draw(st.integers(0, len(whole) - 1))
        broken = whole[:end]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        broken = bytearray(whole)
        broken[place] ^= 1 << data.draw(st.integers(0, 7))
    found, error = [], ""
    reading = records(io.BytesIO(bytes(broken)))
    while not error:
        try:
            found.append(next(reading))
        except StopIteration:
            break
        except RecordError as raised:
            error = str(raised)
    ends = [sum(len(frame(each)) for each in RECORDS[:count]) for count in range(len(RECORDS))]
    assert error.startswith(f"record {len(found) + 1} is ") or (not error and len(broken) in ends)
    assert found == RECORDS[: len(found)]


def test_no_file_takes_memory_by_a_mere_claim() -> None:
    """A file that is none of this kind is refused by its first record."""
    with pytest.raises(RecordError, match="record 1 is damaged; expected a TFRecord file"):
        list(records(io.BytesIO(b"\x89PNG\r\n\x1a\n" * 10)))
