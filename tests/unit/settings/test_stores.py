from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.settings.stores import TIMED_TABLES


def test_the_tables_with_a_time_are_those_of_the_model() -> None:
    assert set(TIMED_TABLES) == {table for table, column in EVENT_TIME_COLUMN.items() if column is not None}
