"""What needs no server; the rest is in integration/test_postgres.py."""

from base64 import b64decode

from marketpulse.sinks.postgres_schema import scram_verifier
from marketpulse.sinks.postgres_views import VIEWS


def test_a_password_is_kept_as_the_server_keeps_it() -> None:
    # Salt, rounds and password of the example in RFC 7677.
    assert scram_verifier("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram_verifier("pencil") != scram_verifier("pencil")


def test_views_name_our_schema_and_nothing_outside_it() -> None:
    for name, sql in VIEWS.items():
        assert f"VIEW {{s}}.{name} AS" in sql
        assert "public." not in sql
