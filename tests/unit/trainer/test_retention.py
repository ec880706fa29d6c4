import pytest

from trainer.retention import PlanError, planned, surplus


def test_a_plan_names_versions():
    """Whatever else a plan has, the versions in its list are those that it names."""
    assert planned(None) == set()
    assert planned(b'{"versions": []}') == set()
    text = (
        b'{"generation": 7, "versions": [{"version": 3, "role": "stable"}, {"version": 4, "share": 0.05}], "by": "me"}'
    )
    assert planned(text) == {3, 4}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "rollout.json is no roll-out plan: Invalid JSON"),
        (b"[3]", "Input should be an object"),
        (b"{}", "versions: Field required"),
        (b'{"versions": [3]}', "versions.0: "),
        (b'{"versions": [{"version": "3"}]}', "versions.0.version: Input should be a valid integer"),
    ],
)
def test_what_is_no_plan_is_told(text, problem):
    """One that is half written, or of another shape, is not taken for one that names nothing."""
    with pytest.raises(PlanError, match=problem):
        planned(text)


def test_the_newest_stay():
    """What is protected does not count among those that are kept."""
    assert surplus([4, 1, 3, 2], 2, set()) == [1, 2]
    assert surplus([4, 1, 3, 2], 2, {1, 4}) == [2]
    assert surplus([1], 3, set()) == []
