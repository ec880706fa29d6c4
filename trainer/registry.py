"""MLflow's Model Registry: a registered version for each version in the model store, and which of them is in use.

The alias `champion` is on the version in use, `challenger` on the latest that passed the gate since. A version's tags
tie it to the model store (`model_store.version`, `model_store.path`), and its run is the one that the contract names.
"""

from collections.abc import Sequence
from typing import Final

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from trainer.errors import TrainingError
from trainer.record import STORE_VERSION, Version

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
# Of a registered model: that this trainer made it; and who was champion, in turn, separated by spaces.
_OURS = "tensorgate.trainer"
_HISTORY = "champion.history"
# Of a version: that it got the alias that it was to get, which others may have now.
_SETTLED = "aliases.settled"


class Registry:
    """The registry that `client` speaks to; whatever MLflow raises is passed on."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def models(self) -> list[RegisteredModel]:
        """Those that this trainer registered, by name."""
        found = self._client.search_registered_models(filter_string=f"tags.`{_OURS}` = 'true'", max_results=1000)
        return sorted(found, key=lambda model: model.name)

    def only_model(self) -> str:
        """The name of the only one; TrainingError if there is none or more than one."""
        names: list[str] = [model.name for model in self.models()]
        if not names:
            raise TrainingError("no model is registered yet: `python -m trainer train` trains one")
        if len(names) > 1:
            raise TrainingError(f"several models are registered ({', '.join(names)}): say which one with --name")
        return names[0]

    def versions(self, name: str) -> list[ModelVersion]:
        """All of a model, the oldest first, with their aliases."""
        found: list[ModelVersion] = []
        token: str | None = None
        while token != "":
            page = self._client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
            found += page
            token = page.token or ""
        aliases: dict[str, list[str]] = {}
        for alias, number in self._aliases(name).items():
            aliases.setdefault(str(number), []).append(alias)
        for version in found:
            # A search leaves them out.
            version.aliases = sorted(aliases.get(str(version.version), []))
        return sorted(found, key=lambda version: int(version.version))

    def champion(self, name: str) -> ModelVersion | None:
        """The version in use, if there is one."""
        return self._with_alias(name, CHAMPION)

    def in_use(self, name: str) -> set[int]:
        """The numbers in the model store of the versions that have an alias, or were champion before."""
        wanted = set(self._history(name)) if self._aliases(name) else set()
        found = (each for each in self.versions(name) if each.aliases or str(each.version) in wanted)
        return {int(each.tags[STORE_VERSION]) for each in found if STORE_VERSION in each.tags}

    def find(self, name: str, text: str) -> ModelVersion:
        """A version by its number or an alias; TrainingError if there is none."""
        versions = self.versions(name)
        for version in versions:
            if text in (str(version.version), *version.aliases):
                return version
        numbers = ", ".join(str(version.version) for version in versions)
        known = f"there are {numbers}" if numbers else f"no model is registered as {name}"
        raise TrainingError(f"{name} has no version or alias {text!r}; {known}")

    def register(self, name: str, run_id: str, source: str, version: Version) -> ModelVersion:
        """The registered version of a run's model, made if there is none: done again, nothing changes.

        The first version of a model becomes the champion, a later one the challenger, unless a newer version in the
        store has an alias by now.
        """
        if not self._client.search_registered_models(filter_string=f"name = '{name}'"):
            self._client.create_registered_model(name, tags={_OURS: "true"})
        known = [found for found in self.versions(name) if found.run_id == run_id]
        tags = {**version.tags, **version.place}
        registered = known[0] if known else self._client.create_model_version(name, source, run_id, tags=tags)
        if _SETTLED in registered.tags:
            return registered
        champion = self.champion(name)
        if champion is None or (version.promote and _newer(version, champion)):
            self._crown(name, registered)
        elif champion.version != registered.version and _newer(version, champion):
            challenger = self._with_alias(name, CHALLENGER)
            if challenger is None or _newer(version, challenger):
                self._client.set_registered_model_alias(name, CHALLENGER, registered.version)
        self._client.set_model_version_tag(name, registered.version, _SETTLED, "true")
        return registered

    def promote(self, name: str, text: str) -> tuple[ModelVersion, ModelVersion | None]:
        """Makes a version, by its number or alias, the champion; the version, and the champion before it if another."""
        version, before = self.find(name, text), self.champion(name)
        if before and before.version == version.version:
            return version, None
        self._crown(name, version)
        return version, before

    def rollback(self, name: str) -> tuple[ModelVersion, ModelVersion]:
        """Makes the champion before this one the champion again; that one, and the one that was.

        TrainingError if there is none before it.
        """
        champion = self.champion(name)
        if champion is None:
            raise TrainingError(f"{name} has no champion to roll back")
        current = str(champion.version)
        there = {str(version.version) for version in self.versions(name)}
        # The last entry need not be the champion: somebody may have moved the alias, or promotion was cut short.
        before = [number for number in self._history(name) if number in there]
        while before and before[-1] == current:
            before.pop()
        if not before:
            raise TrainingError(f"{name} had no champion before version {current}")
        self._client.set_registered_model_alias(name, CHAMPION, before[-1])
        self._client.set_registered_model_tag(name, _HISTORY, " ".join(before))
        return self.find(name, CHAMPION), champion

    def _crown(self, name: str, version: ModelVersion) -> None:
        history, number = self._history(name), str(version.version)
        champion = self.champion(name)
        if champion and history[-1:] != [str(champion.version)]:
            history.append(str(champion.version))
        self._client.set_registered_model_alias(name, CHAMPION, number)
        if history[-1:] != [number]:
            history.append(number)
        self._client.set_registered_model_tag(name, _HISTORY, " ".join(history))
        if str(self._aliases(name).get(CHALLENGER)) == number:
            self._client.delete_registered_model_alias(name, CHALLENGER)

    def _history(self, name: str) -> list[str]:
        tags = self._client.get_registered_model(name).tags
        return (tags.get(_HISTORY) or "").split()

    def _aliases(self, name: str) -> dict[str, str]:
        found: Sequence[RegisteredModel] = self._client.search_registered_models(filter_string=f"name = '{name}'")
        return dict(found[0].aliases) if found else {}

    def _with_alias(self, name: str, alias: str) -> ModelVersion | None:
        number = self._aliases(name).get(alias)
        return self._client.get_model_version(name, number) if number else None


def _newer(version: Version, than: ModelVersion) -> bool:
    """Whether it was published later; one that the store does not have is older than any."""
    return int(version.number) > int(than.tags.get(STORE_VERSION, "0"))
