"""The commands about models that are trained already."""

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from serving.native_stderr import native_stderr_dropped
from trainer import tracking
from trainer.errors import TrainingError
from trainer.listing import Table, text
from trainer.recipe import Recipe, restored
from trainer.record import STORE_VERSION, Records
from trainer.registry import Registry

_HEADLINES = ("accuracy", "macro_f1", "log_loss", "ece", "rmse", "mae", "r2")
_HASH = 12
_log = logging.getLogger(__package__)


def promote(uri: str | None, name: str | None, version: str) -> str:
    """Makes a version, by its number or alias, the champion; what was done, for people."""
    with tracking.connected(uri) as client:
        registry = Registry(client)
        name = name or registry.only_model()
        promoted, before = registry.promote(name, version)
    if before is None:
        return f"{name}: the champion is {_described(promoted)}"
    return f"{name}: the champion is {_described(promoted)}, before {_described(before)}"


def rollback(uri: str | None, name: str | None) -> str:
    """Makes the champion before this one the champion again; what was done, for people."""
    with tracking.connected(uri) as client:
        registry = Registry(client)
        name = name or registry.only_model()
        now, before = registry.rollback(name)
    return f"{name}: the champion is {_described(now)} again, before {_described(before)}"


def listing(uri: str | None, name: str | None) -> str:
    """A table of the registered versions of a model, or one for each model."""
    with tracking.connected(uri) as client:
        registry = Registry(client)
        names = [name] if name else [model.name for model in registry.models()]
        tables = [_table(each, registry.versions(each)) for each in names]
    if waiting := len(Records(tracking.PENDING).kept()):
        _log.info("runs that MLflow does not have yet: %d; `python -m trainer sync` uploads them", waiting)
    if name and not tables[0].rows:
        raise TrainingError(f"no model is registered as {name}")
    return "\n\n".join(map(text, tables)) or "no model is registered yet"


def compare(uri: str | None, name: str | None, first: str, second: str) -> str:
    """The figures of two versions on the held-out examples of the second, and a paired test of their difference."""
    with tracking.connected(uri) as client:
        registry = Registry(client)
        name = name or registry.only_model()
        versions = [registry.find(name, each) for each in (first, second)]
        run = client.get_run(versions[1].run_id or "")
        recipe = _recipe(client, run.info.run_id)
    with native_stderr_dropped():
        # PLC0415: TensorFlow takes ten seconds to import; a version that is not there is said before.
        from trainer import challenge, comparison, data, evaluate, report  # noqa: PLC0415

    dataset = data.load(recipe)
    _, heldout = data.split(dataset, recipe.data.holdout, recipe.seed)
    if dataset.digest != run.data.tags.get("data_hash"):
        _log.warning("the data have changed since version %s was trained", versions[1].version)
    answers, figures = [], []
    for version in versions:
        model, known = challenge.load(uri, version)
        outputs, labels = model.predict(heldout)
        answers.append(outputs)
        figures.append(evaluate.overall(evaluate.quality(outputs, heldout.targets, labels), labels))
        seen = challenge.seen(known, heldout)
        if seen is None or seen:
            count = "an unknown number" if seen is None else seen
            _log.warning("version %s was trained on %s of the held-out examples", version.version, count)
    one, other = answers
    test = comparison.compare(
        one, other, heldout.targets, labelled=bool(heldout.labels), alpha=recipe.gate.alpha, seed=recipe.seed
    )
    caption = f"{name}: {len(heldout.targets)} held-out examples, {dataset.source}"
    columns = (f"version {versions[0].version}", f"version {versions[1].version}")
    return f"{text(report.side_by_side(caption, figures[0], figures[1], columns))}\n\n{test}"


def reproduce(uri: str | None, run_id: str) -> str:
    """Trains again what a run trained, publishes nothing, and lists what the figures are and were.

    TrainingError if the run has no recipe, or the data are not the same.
    """
    with tracking.connected(uri) as client:
        run = tracking.find_run(client, run_id)
        recipe = _recipe(client, run.info.run_id)
    with native_stderr_dropped():
        from trainer import checkpoint, lineage, report, training  # noqa: PLC0415 - as above

    examples = training.prepare(recipe)
    now, then = lineage.trace(recipe, examples.dataset), run.data.tags
    if now["data_hash"] != then.get("data_hash"):
        raise TrainingError(
            f"the data are not those of the run: their hash is {now['data_hash']}, the run's {then.get('data_hash')}"
        )
    for what in ("git_revision", "python", "tensorflow", "keras", "numpy"):
        if now[what] != then.get(what):
            _log.warning("%s differs: %s, the run had %s", what.replace("_", " "), now[what], then.get(what))
    with tempfile.TemporaryDirectory() as scratch:
        start = checkpoint.Checkpoint(Path(scratch), "", resume=False)
        _, _, figures = training.learn(recipe, examples, start, ())
    found = tracking.named(figures)
    recorded = {name: run.data.metrics[name] for name in found if name in run.data.metrics}
    if not recorded:
        raise TrainingError(f"the run {run_id} has no figures to compare with: it did not end")
    table = report.side_by_side(f"{recipe.name}, run {run_id}", recorded, found, ("recorded", "reproduced"))
    largest = max(abs(found[name] - value) for name, value in recorded.items())
    return f"{text(table)}\n\nlargest difference: {largest:.3g}"


def sync(uri: str | None) -> list[str]:
    """Uploads the runs that MLflow does not have yet, the oldest first; their ids.

    TrainingError if MLflow does not take one: that and those after it are kept.
    """
    records = Records(tracking.PENDING)
    uploaded = []
    for kept in records.kept():
        run_id = tracking.upload(records, kept, uri)
        if run_id:
            _log.info("uploaded to %s: run %s", tracking.shown(uri), run_id)
            uploaded.append(run_id)
    return uploaded


def _recipe(client: MlflowClient, run_id: str) -> Recipe:
    """The recipe that a run recorded."""
    with tempfile.TemporaryDirectory() as scratch:
        if not any(artifact.path == tracking.RECIPE for artifact in client.list_artifacts(run_id)):
            raise TrainingError(f"the run {run_id} has no {tracking.RECIPE}")
        return restored(Path(client.download_artifacts(run_id, tracking.RECIPE, scratch)).read_text("utf-8"))


def _described(version: ModelVersion) -> str:
    return f"version {version.version} (in the store {version.tags.get(STORE_VERSION, 'unknown')})"


def _table(name: str, versions: list[ModelVersion]) -> Table:
    """The versions of a model, the newest first."""
    figures = [each for each in _HEADLINES if any(tracking.FIGURES + each in version.tags for version in versions)]
    rows = tuple(
        (
            str(version.version),
            version.tags.get(STORE_VERSION, ""),
            ", ".join(version.aliases),
            *(_rounded(version.tags.get(tracking.FIGURES + each)) for each in figures),
            version.tags.get("data_hash", "")[:_HASH],
            datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        )
        for version in reversed(versions)
    )
    return Table(name, ("version", "store", "aliases", *figures, "data", "registered (UTC)"), rows)


def _rounded(figure: str | None) -> str:
    return f"{float(figure):.4f}" if figure else "–"
