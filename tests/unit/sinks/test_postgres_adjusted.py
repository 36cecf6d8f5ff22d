"""What needs no server; that the numbers are right stands in integration/test_postgres_adjusted.py."""

from marketpulse.sinks.postgres_adjusted import ADJUSTED, PRODUCT


def test_views_name_our_schema_and_nothing_outside_it() -> None:
    for name, sql in ADJUSTED.items():
        assert f"VIEW {{s}}.{name} AS" in sql
        assert "public." not in sql
    assert "{s}.product" in PRODUCT
