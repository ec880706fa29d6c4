"""What the labels of each version are: as the contracts say, and as the database remembers."""

from gateway.catalog import Catalog
from gateway.errors import FeedbackUnavailable, ModelNotFound
from gateway.feedback.ledger import RETRY_AFTER, Ledger
from gateway.feedback.store import Task
from gateway.receipts import model_digest


class Tasks:
    """The task of every version that predictions come, or came, from."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: dict[tuple[str, int], Task] | None = None

    def model(self, digest: bytes) -> str:
        """The name of the served model with this digest; ModelNotFound if there is none."""
        for name in self._catalog.models:
            if model_digest(name) == digest:
                return name
        raise ModelNotFound("the id is of a model that the gateway does not serve")

    def task(self, model: str, version: int) -> Task | None:
        """What the labels of a version are; None if it never said.

        FeedbackUnavailable while the database has not been read and the version is served no more.
        """
        served = self._served(model, version)
        if served is None and self._kept is None:
            raise FeedbackUnavailable(
                "what the version's labels are is not known yet; retry later", retry_after=RETRY_AFTER
            )
        return served or (self._kept or {}).get((model, version))

    def class_name(self, model: str, version: int, index: int) -> str:
        """The name of a version's class; empty if it is not known."""
        task = self._served(model, version) or (self._kept or {}).get((model, version))
        return task.labels[index] if task and 0 <= index < len(task.labels) else ""

    async def refresh(self, ledger: Ledger) -> None:
        """Reads what the database has, and keeps there what has come since."""
        kept = await ledger.run(lambda store: store.tasks())
        served = {
            (model.name, number): self._served(model.name, number)
            for model in self._catalog.models.values()
            for number in model.versions
        }
        new = {key: task for key, task in served.items() if task is not None and kept.get(key) != task}
        if new:
            await ledger.run(lambda store: store.describe(new))
        self._kept = kept | new

    def _served(self, model: str, version: int) -> Task | None:
        served = self._catalog.models.get(model)
        found = served.versions.get(version) if served else None
        contract = found.servable.contract if found and found.servable else None
        if contract is None or contract.postprocessing.task == "raw":
            return None
        return Task(contract.postprocessing.task, contract.postprocessing.labels)
