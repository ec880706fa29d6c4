from trainer.listing import Table, text


def test_columns_stand_under_each_other():
    """The first to the left, the others to the right; nothing is cut off."""
    rows = (("a", "1", ""), ("long name", "12.5", "x" * 200))
    assert text(Table("two rows", ("name", "value", "note"), rows)).splitlines() == [
        "two rows",
        "name       value  " + "note".rjust(200),
        "a              1",
        "long name   12.5  " + "x" * 200,
    ]
