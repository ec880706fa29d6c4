"""Steps by name, and the pipeline that runs them one after another."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from serving.preprocessing import decode, ink, own, pixels, table, tensor
from serving.preprocessing.errors import InputError, StepError, StepFailedError
from serving.preprocessing.many import Failure, Images, Made, over_many
from serving.validation import problems

# A step takes what the one before it made; its keyword arguments are the parameters that a contract may set.
STEPS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        decode.decode,
        pixels.grayscale,
        pixels.shrink,
        pixels.denoise,
        pixels.resize,
        ink.invert_light_background,
        ink.flatten_background,
        ink.stretch_contrast,
        ink.crop_to_content,
        ink.thicken,
        ink.center_of_mass,
        tensor.normalize,
        tensor.layout,
        tensor.cast,
        table.select,
        table.impute,
        table.scale,
        table.one_hot,
        table.ordinal,
        table.assemble,
    )
}
# Each comes first, and says what the pipeline takes: images or a table's rows.
DECODE, SELECT = "decode", "select"
# Ends the steps that take many rows at once.
ASSEMBLE = "assemble"
_OF_TABLES = frozenset(name for name, function in STEPS.items() if function.__module__ == table.__name__)
_OF_TENSORS = frozenset(name for name, function in STEPS.items() if function.__module__ == tensor.__name__)


class Step(BaseModel):
    """One step of a pipeline, as a contract names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)


class Pipeline:
    """Steps in a row: an encoded image, pixels, or a table's rows in; the model's tensor for one instance out.

    What the steps do not foresee they may raise, too, unless one of them is somebody's own: from there on that is a
    StepFailedError.
    """

    def __init__(self, steps: Iterable[tuple[str, Callable[..., Any]]], columns: Sequence[table.Column] = ()) -> None:
        named = list(steps)
        self.columns = columns
        """Of the rows that it takes."""
        self.names = tuple(name for name, _ in named)
        self.accepts_images = self.names[:1] == (DECODE,)
        self.accepts_rows = bool(columns)
        self.has_own = any(map(own.is_path, self.names))
        self._steps = [step for _, step in named]
        self._many = [over_many(step) for step in self._steps]
        self._batched = self.names.index(ASSEMBLE) + 1 if self.accepts_rows else 0

    def __call__(self, encoded: bytes) -> NDArray[Any]:
        """The tensor made of an encoded image, or of a row as a JSON object; InputError if it is not one."""
        if self.accepts_rows:
            return self._of_rows([table.decode_row(encoded)])[0]
        return _only(self.many([encoded]))

    def from_pixels(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor made of pixels (height, width, channels) as `decode` would have made them."""
        return _only(self.many([image]))

    def decoded(self, images: Sequence[bytes | NDArray[np.uint8]]) -> Made:
        """The pixels (height, width, channels) of each image, encoded or pixels already, or what is wrong with it."""
        if not self.accepts_images:
            takes = "rows of a table" if self.accepts_rows else "tensors"
            error = InputError("IMAGES_NOT_ACCEPTED", f"the model takes {takes}, not images")
            return [error] * len(images)
        encoded = [image for image in images if isinstance(image, bytes)]
        made = self._many[0](encoded) if encoded else ()
        if len(encoded) == len(images):
            return made
        rest = iter(made)
        return [next(rest) if isinstance(image, bytes) else image for image in images]

    def many(self, images: Sequence[bytes | NDArray[np.uint8]]) -> list[NDArray[Any] | Failure]:
        """What becomes of each image, encoded or pixels: a tensor, or an error. Costs less than one after the other."""
        return self.from_decoded(self.decoded(images))

    def from_decoded(self, images: Made) -> list[NDArray[Any] | Failure]:
        """What becomes of what `decoded` gave."""
        made: Made = images
        outcome: dict[int, NDArray[Any] | Failure] = {}
        places: Sequence[int] = range(len(images))
        for step in self._many[1:]:
            places, good = _set_apart(places, made, outcome)
            made = step(good) if len(good) else ()
        outcome |= zip(places, made, strict=True)
        return [outcome[place] for place in range(len(images))]

    def from_rows(self, rows: Sequence[table.Row]) -> list[NDArray[Any] | Failure]:
        """For each of a table's rows the tensor, or what is wrong with the row."""
        try:
            return list(self._of_rows(rows))
        except (InputError, StepFailedError) as error:
            # One at a time they show whose error it is.
            return [error] if len(rows) == 1 else [result for row in rows for result in self.from_rows([row])]

    def _of_rows(self, rows: Sequence[table.Row]) -> Sequence[NDArray[Any]]:
        if not self.accepts_rows:
            takes = "images" if self.accepts_images else "tensors"
            raise InputError("ROWS_NOT_ACCEPTED", f"the model takes {takes}, not rows of a table")
        value: Any = rows
        for step in self._steps[: self._batched]:
            value = step(value)
        rest = self._steps[self._batched :]
        return [functools.reduce(lambda tensor, step: step(tensor), rest, row) for row in value] if rest else value


def _set_apart(
    places: Sequence[int], made: Made, failed: dict[int, NDArray[Any] | Failure]
) -> tuple[Sequence[int], Images]:
    """Puts what has failed aside, and gives what is left with its places."""
    if isinstance(made, np.ndarray):
        return places, made
    good: list[tuple[int, NDArray[Any]]] = []
    for place, one in zip(places, made, strict=True):
        if isinstance(one, Failure):
            failed[place] = one
        else:
            good.append((place, one))
    return [place for place, _ in good], [one for _, one in good]


def build(steps: Iterable[Step], allowed: Collection[str] = ()) -> Pipeline:
    """The pipeline of `steps`; of those that name an import path, module:function, `allowed` lists path or module.

    StepError names a step that does not exist or must not run here, or a parameter that it does not take.
    """
    listed = tuple(steps)
    check_order([step.name for step in listed])
    bound: list[tuple[str, Callable[..., Any]]] = []
    guarding = False
    for place, step in enumerate(listed):
        try:
            call = bind(step, allowed)
        except ValidationError as error:
            raise StepError(f"step {place} ({step.name}): {problems(error)}") from error
        except StepError as error:
            raise StepError(f"step {place} ({step.name}): {error}") from error
        guarding = guarding or own.is_path(step.name)
        bound.append((step.name, own.guarded(step.name, call) if guarding else call))
    _check_columns(bound)
    return Pipeline(bound, parameters(listed[0])["columns"] if listed and listed[0].name == SELECT else ())


def own_steps(steps: Iterable[Step]) -> frozenset[str]:
    """The import paths among steps: what has to be allowed for them to be built."""
    return frozenset(step.name for step in steps if own.is_path(step.name))


def check_order(names: Sequence[str]) -> None:
    """StepError unless every step is there, and stands where it can."""
    assembled = False
    for place, name in enumerate(names):
        if not own.is_path(name) and name not in STEPS:
            raise StepError(f"step {place}: no step is called {name!r}; there are {', '.join(sorted(STEPS))}")
        if (name in (DECODE, SELECT)) != (place == 0):
            raise StepError(
                f"step {place}: `{DECODE}` (for images) or `{SELECT}` (for rows) comes first, and only there"
            )
        of_table = names[0] == SELECT and not assembled
        if not own.is_path(name) and (name in _OF_TABLES) != of_table:
            where = f"between `{SELECT}` and `{ASSEMBLE}`" if of_table else f"after `{names[0]}`"
            raise StepError(f"step {place}: `{name}` cannot stand {where}")
        if assembled and not own.is_path(name) and name not in _OF_TENSORS:
            raise StepError(f"step {place}: `{name}` cannot stand after `{ASSEMBLE}`")
        assembled = assembled or name == ASSEMBLE
    if names[:1] == [SELECT] and not assembled:
        raise StepError(f"`{ASSEMBLE}` has to follow `{SELECT}`")


def _check_columns(bound: Sequence[tuple[str, Callable[..., Any]]]) -> None:
    """Runs the steps on no rows at all; StepError if one does not find its columns, or finds them of another type.

    What comes after a step of somebody's own nobody can know.
    """
    rows: Any = ()
    for place, (name, step) in enumerate(bound):
        if name not in _OF_TABLES:
            return
        try:
            rows = step(rows)
        except StepError as error:
            raise StepError(f"step {place} ({name}): {error}") from error


def bind(step: Step, allowed: Collection[str]) -> Callable[..., Any]:
    """A step with its parameters; StepError or ValidationError as it is or they are no good."""
    if not own.is_path(step.name):
        return functools.partial(STEPS[step.name], **parameters(step))
    found = own.load(step.name, allowed)
    if isinstance(found, type) and issubclass(found, BaseModel):
        made: Any = found.model_validate(dict(step.parameters), extra="forbid")
        return cast("Callable[..., Any]", made)
    return functools.partial(found, **dict(_model(found).model_validate(dict(step.parameters))))


def _only(made: Sequence[NDArray[Any] | Failure]) -> NDArray[Any]:
    (one,) = made
    if isinstance(one, Failure):
        raise one
    return one


def parameters(step: Step) -> dict[str, Any]:
    """All parameters of a step that there is, with the defaults of those that it leaves out."""
    return dict(_parameters(step.name).model_validate(dict(step.parameters)))


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of a step's parameters."""
    return _parameters(name).model_json_schema()


@functools.cache
def _parameters(name: str) -> type[BaseModel]:
    return _model(STEPS[name])


def _model(function: Callable[..., Any]) -> type[BaseModel]:
    """A model of a step's keyword-only arguments, so that its signature is its schema."""
    try:
        signature = inspect.signature(function, eval_str=True)
        fields: dict[str, Any] = {
            key: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
            for key, parameter in signature.parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        return create_model(
            function.__name__, __config__=ConfigDict(extra="forbid"), __doc__=function.__doc__, **fields
        )
    except Exception as error:
        # An annotation of somebody's own may be anything.
        raise StepError(f"its parameters cannot be read: {error}") from error
