"""What the reader is told of a fault, and what nobody is shown."""

import pytest
from adbc_driver_manager import OperationalError, ProgrammingError

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.sinks.postgres_faults import Address, Conflict, NotText, TablesChanged, explained, identifier, text

SECRET = "p@ss/w:rd%"  # noqa: S105
HOME = Address.of("postgresql://me@db.example:5433/prices?sslmode=verify-full", SECRET)


def fault(state: str | None, words: str = "ERROR:  something") -> OperationalError:
    return OperationalError(f"IO: [libpq] {words}\n. SQLSTATE: {state}", status_code=10, sqlstate=state)


def test_the_password_goes_to_the_client_and_nowhere_else() -> None:
    assert HOME.uri.startswith("postgresql://me:p%40ss%2Fw%3Ard%25@db.example:5433/prices?")
    assert "sslmode=verify-full" in HOME.uri
    assert HOME.where == "postgresql://me@db.example:5433/prices"
    for shown in (
        HOME.where,
        repr(HOME),
        str(explained(fault(None, f"bad {SECRET} and p%40ss%2Fw%3Ard%25"), HOME, connected=True)),
    ):
        assert SECRET not in shown
        assert "p%40ss" not in shown


def test_a_password_in_the_url_is_not_shown_either() -> None:
    for url in ("postgresql://me:hidden@h/d", "postgresql://me@h/d?password=hidden"):
        address = Address.of(url, None)
        assert "me:hidden@h" in address.uri
        assert "hidden" not in address.where + repr(address)
    assert "hidden" not in Address.of("postgresql://me:hidden@h/d", "better").uri


@pytest.mark.parametrize("url", ["mysql://me@h/d", "postgresql://me@h", "db.example", "postgresql://h/d"])
def test_a_url_that_leads_to_no_database_is_refused(url: str) -> None:
    with pytest.raises(ParameterError, match=r"sinks\.postgres\.url"):
        Address.of(url, None)


@pytest.mark.parametrize("state", ["53100", "53300", "57P01", "57014", "40P01", "55P03", "08006", "25006", None])
def test_what_passes_is_waited_for(state: str | None) -> None:
    told = explained(fault(state), HOME, connected=True)
    assert isinstance(told, Retryable)
    assert "nothing is lost" in str(told)


@pytest.mark.parametrize(
    ("state", "kind"),
    [("23505", Conflict), ("22021", NotText), ("42P01", TablesChanged), ("42501", Fatal), ("22003", Fatal)],
)
def test_what_does_not_pass_says_what_it_is(state: str, kind: type[Exception]) -> None:
    assert type(explained(fault(state), HOME, connected=True)) is kind


def test_a_table_that_copy_does_not_find_was_changed_behind_our_back() -> None:
    told = explained(ProgrammingError('NOT_FOUND: relation "s.t" does not exist', status_code=3), HOME, connected=True)
    assert isinstance(told, TablesChanged)


@pytest.mark.parametrize(
    ("words", "do"),
    [
        ('FATAL:  password authentication failed for user "me"', "MARKETPULSE_SINKS__POSTGRES__PASSWORD"),
        ("fe_sendauth: no password supplied", "MARKETPULSE_SINKS__POSTGRES__PASSWORD"),
        ('FATAL:  role "me" does not exist', "CREATE ROLE \"me\" LOGIN PASSWORD '…';"),
        ('FATAL:  database "prices" does not exist', 'CREATE DATABASE "prices" OWNER "me";'),
        ('FATAL:  role "me" is not permitted to log in', 'ALTER ROLE "me" LOGIN;'),
        ('FATAL:  permission denied for database "prices"', 'GRANT CONNECT, CREATE, TEMPORARY ON DATABASE "prices" TO "me";'),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "pg_hba.conf"),
        ("server does not support SSL, but SSL was required", "sinks.postgres.url"),
        ('invalid sslmode value: "perhaps"', "sinks.postgres.url"),
    ],
)  # fmt: skip
def test_a_refused_login_names_what_to_do(words: str, do: str) -> None:
    told = explained(fault(None, words), HOME, connected=False)
    assert isinstance(told, Fatal)
    assert do in str(told)


@pytest.mark.parametrize(
    "words",
    ["FATAL:  the database system is starting up", "FATAL:  sorry, too many clients already", "Connection refused",
     'FATAL:  remaining connection slots are reserved', "timeout expired", "ВАЖНО:  something else"],
)  # fmt: skip
def test_a_server_that_is_away_or_busy_is_waited_for(words: str) -> None:
    assert isinstance(explained(fault(None, words), HOME, connected=False), Retryable)


def test_names_and_texts_are_quoted() -> None:
    assert identifier('a"b') == '"a""b"'
    assert text("it's") == "'it''s'"
