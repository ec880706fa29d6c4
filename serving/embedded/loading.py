"""Flags become a loader: what is read beside a version's graph, and what is run before it serves."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from serving.embedded.batching.parameters import Parameters
from serving.embedded.batching.parameters_file import model_parameters
from serving.embedded.flags import Flags
from serving.embedded.servable import Servable
from serving.embedded.version import Loader
from serving.embedded.warm_up import load_warm


def loader_of(
    flags: Flags,
    batching: Parameters | None,
    load: Callable[[Path], Servable],
    records: Callable[[Path], Iterable[bytes]],
) -> Loader:
    """How versions are loaded, by `load`, and warmed up with requests that `records` reads from a TFRecord file.

    `batching` is what --batching_parameters_file says, None if nothing is batched.
    """

    def parameters(directory: Path) -> Parameters | None:
        if batching and flags.enable_per_model_batching_parameters:
            return model_parameters(directory, batching)
        return batching

    def sizes(directory: Path) -> Sequence[int]:
        of_version = parameters(directory)
        return of_version.allowed_batch_sizes if of_version else ()

    if flags.enable_model_warmup:
        iterations = flags.num_request_iterations_for_warmup or 1
        load = partial(load_warm, load=load, records=records, iterations=iterations, sizes=sizes)
    return Loader(load, flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6, parameters)
