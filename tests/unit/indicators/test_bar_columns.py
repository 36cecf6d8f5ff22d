"""The columns of a kernel's bars have names in their order."""

from marketpulse.indicators import bar_columns


def test_every_column_has_its_name_in_its_place() -> None:
    for place, name in enumerate(bar_columns.NAMES):
        assert getattr(bar_columns, name.upper()) == place
    assert len(bar_columns.NAMES) == bar_columns.WIDTH
