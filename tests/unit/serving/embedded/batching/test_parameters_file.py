"""serving.embedded.batching.parameters_file: TensorFlow Serving's own file."""

from pathlib import Path

import pytest

from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.parameters_file import model_parameters, read_parameters
from serving.embedded.errors import InvalidArgument
from serving.embedded.text_proto import ConfigFileError

SPLIT = "max_batch_size { value: 4 } enable_large_batch_splitting { value: true }"


def read(tmp_path: Path, text: str) -> Parameters:
    """The parameters of a file with this text."""
    (tmp_path / "batching").write_text(text)
    return read_parameters(tmp_path / "batching")


def test_all(tmp_path: Path) -> None:
    """Each parameter is read."""
    text = """
        max_batch_size { value: 128 } batch_timeout_micros { value: 2000 } max_enqueued_batches { value: 5 }
        num_batch_threads { value: 3 } thread_pool_name { value: "pool" } pad_variable_length_inputs: true
        allowed_batch_sizes: 8 allowed_batch_sizes: 32
        enable_large_batch_splitting { value: true } max_execution_batch_size { value: 32 }
    """
    assert read(tmp_path, text) == Parameters(
        max_batch_size=128,
        batch_timeout=0.002,
        max_enqueued_batches=5,
        num_batch_threads=3,
        thread_pool_name="pool",
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
        max_execution_batch_size=32,
    )


def test_defaults(tmp_path: Path) -> None:
    """What a file leaves out is TensorFlow Serving's default; a large batch is split at max_batch_size."""
    assert read(tmp_path, "") == Parameters()
    assert read(tmp_path, "max_batch_size { value: 9 } enable_large_batch_splitting { value: true }") == Parameters(
        max_batch_size=9, max_execution_batch_size=9
    )


def test_file_of_the_container() -> None:
    """The file that the containers mount can be read."""
    assert read_parameters(Path("serving/batching.config")) == Parameters(
        max_batch_size=128, max_enqueued_batches=1024, num_batch_threads=4
    )


def test_of_a_model(tmp_path: Path) -> None:
    """A version's own file says all but the threads; without one its requests are not batched."""
    common = Parameters(max_batch_size=7, num_batch_threads=3, thread_pool_name="all")
    assert model_parameters(tmp_path, common) is None
    file = tmp_path / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 4 } num_batch_threads { value: 9 }")
    assert model_parameters(tmp_path, common) == Parameters(
        max_batch_size=4, num_batch_threads=3, thread_pool_name="all"
    )
    file.write_text("max_batch_size { value: 0 }")
    with pytest.raises(InvalidArgument, match="max_batch_size must be positive; was 0"):
        model_parameters(tmp_path, common)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch_size: 1", "Expected"),
        ("max_batch { value: 1 }", '"max_batch"'),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("batch_timeout_micros { value: -5 }", "batch_timeout_micros must be non-negative; was -5"),
        ("allowed_batch_sizes: 8", "must match max_batch_size; last entry was 8; expected 1000"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 4]", "increasing; were [4, 4]"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [0, 4]", "positive and increasing"),
        (
            f"{SPLIT} max_execution_batch_size {{ value: 5 }}",
            "at most max_batch_size, 4; was 5",
        ),
        (
            f"{SPLIT} max_execution_batch_size {{ value: 2 }} allowed_batch_sizes: [1, 4]",
            "must match max_execution_batch_size; last entry was 4; expected 2",
        ),
    ],
)
def test_problems(tmp_path: Path, text: str, problem: str) -> None:
    """What cannot be is an error that names the file and says what was expected."""
    with pytest.raises(ConfigFileError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "batching"))
    assert problem in str(caught.value)
