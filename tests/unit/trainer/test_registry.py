import re

import pytest

from trainer.errors import TrainingError
from trainer.record import Version
from trainer.registry import Registry


@pytest.fixture
def registry(client):
    """The registry of the store."""
    return Registry(client)


@pytest.fixture
def name(request):
    """A model's name that no other test has."""
    return re.sub(r"\W", "_", request.node.name)


@pytest.fixture
def publish(client, registry, name):
    """Registers a new run's model as the version in the store that is given."""
    experiment = client.create_experiment(name)

    def publish(number, *, promote=False, run_id=None):
        run_id = run_id or client.create_run(experiment).info.run_id
        version = Version(number=str(number), path=f"/s/{number}", tags={"data_hash": "d"}, promote=promote)
        return registry.register(name, run_id, f"/artifacts/{run_id}/model", version)

    return publish


def aliases(registry, name):
    """The aliases of each version."""
    return {int(version.version): version.aliases for version in registry.versions(name)}


def test_the_first_is_the_champion_and_a_later_one_the_challenger(registry, name, publish):
    """Aliases go to who passed last; a version names its run, and where the store has it."""
    made = [publish(number) for number in (1, 2, 5)]
    assert aliases(registry, name) == {1: ["champion"], 2: [], 3: ["challenger"]}
    third = registry.find(name, "challenger")
    assert third.run_id == made[2].run_id
    assert third.tags.items() >= {"data_hash": "d", "model_store.version": "5", "model_store.path": "/s/5"}.items()
    assert registry.champion(name).version == made[0].version


def test_promoted_at_once(registry, name, publish):
    """A recipe may ask for it."""
    publish(1)
    publish(2, promote=True)
    assert aliases(registry, name) == {1: [], 2: ["champion"]}


def test_registering_again_changes_nothing(registry, name, publish):
    """An upload that is done again finds its version, whatever became of it since."""
    first = publish(1)
    second = publish(2, promote=True)
    assert publish(2, promote=True, run_id=second.run_id).version == second.version
    registry.rollback(name)
    publish(2, promote=True, run_id=second.run_id)
    publish(1, run_id=first.run_id)
    assert aliases(registry, name) == {1: ["champion"], 2: []}


def test_a_late_upload_is_no_challenger(registry, name, publish):
    """A version that the store had before those that were registered meanwhile gets no alias."""
    for number in (2, 4, 1, 3):
        publish(number)
    assert aliases(registry, name) == {1: ["champion"], 2: ["challenger"], 3: [], 4: []}


def test_promote_and_rollback(registry, name, publish):
    """Back goes the way that was gone, step by step; a version that was left is no step any more."""
    for number in (1, 2, 3, 4):
        publish(number)
    promoted, before = registry.promote(name, "challenger")
    assert (int(promoted.version), int(before.version)) == (4, 1)
    assert registry.champion(name).tags["model_store.version"] == "4"
    assert aliases(registry, name)[4] == ["champion"]
    registry.promote(name, "2")
    now, before = registry.rollback(name)
    assert (int(now.version), int(before.version)) == (4, 2)
    now, before = registry.rollback(name)
    assert (int(now.version), int(before.version)) == (1, 4)
    with pytest.raises(TrainingError, match="had no champion before version 1"):
        registry.rollback(name)
    registry.promote(name, "3")
    now, _ = registry.rollback(name)
    assert int(now.version) == 1


def test_promoting_the_champion_changes_nothing(registry, name, publish):
    """It says so by giving no champion before it."""
    publish(1)
    assert registry.promote(name, "1")[1] is None
    with pytest.raises(TrainingError, match="had no champion before version 1"):
        registry.rollback(name)


def test_an_alias_moved_by_hand_can_be_rolled_back(client, registry, name, publish):
    """Whoever was champion last comes back, though nobody promoted the one that is."""
    for number in (1, 2, 3):
        publish(number)
    client.set_registered_model_alias(name, "champion", "3")
    now, before = registry.rollback(name)
    assert (int(now.version), int(before.version)) == (1, 3)


def test_a_deleted_version_is_passed_over(client, registry, name, publish):
    """A champion of the past that is no longer registered is no way back."""
    for number in (1, 2, 3):
        publish(number)
    registry.promote(name, "2")
    registry.promote(name, "3")
    client.delete_model_version(name, "2")
    now, _ = registry.rollback(name)
    assert int(now.version) == 1


@pytest.mark.parametrize("text", ["9", "challenger", "'; --"])
def test_an_unknown_version_is_said(registry, name, publish, text):
    """What there is is said, too."""
    publish(1)
    with pytest.raises(TrainingError, match=r"has no version or alias .*; there are 1$"):
        registry.promote(name, text)


def test_a_model_that_is_not_registered(registry):
    """It has no champion, no versions, and nothing to promote or to roll back."""
    assert registry.champion("nobody") is None
    assert registry.versions("nobody") == []
    with pytest.raises(TrainingError, match="no model is registered as nobody"):
        registry.promote("nobody", "1")
    with pytest.raises(TrainingError, match="nobody has no champion to roll back"):
        registry.rollback("nobody")


def test_only_the_trainers_models_are_listed(client, registry, name, publish):
    """A tracking server may have other teams' models."""
    client.create_registered_model(f"{name}-other")
    publish(1)
    assert name in [model.name for model in registry.models()]
    assert f"{name}-other" not in [model.name for model in registry.models()]
