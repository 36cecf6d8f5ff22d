"""What needs no PostgreSQL: faults, periods, tables as columns, names. The rest: integration/test_postgres.py."""

import datetime as dt
from base64 import b64decode
from itertools import islice, pairwise
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_manager import Error, OperationalError, ProgrammingError

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.model.rows import BAR
from marketpulse.model.tables import TABLES
from marketpulse.sinks import postgres_periods as periods
from marketpulse.sinks.postgres_adjusted import ADJUSTED, PRODUCT
from marketpulse.sinks.postgres_client import Parameters
from marketpulse.sinks.postgres_faults import Address, Conflict, NotText, TablesChanged, explained, identifier, text
from marketpulse.sinks.postgres_schema import scram_verifier
from marketpulse.sinks.postgres_tables import ALL, column_name, without_nul
from marketpulse.sinks.postgres_views import THIRD_VERSION, VIEWS

SECRET = "p@ss/w:rd%"  # noqa: S105
HOME = Address.of("postgresql://me@db.example:5433/prices?sslmode=verify-full", SECRET)


def fault(state: str | None, words: str = "ERROR:  something") -> OperationalError:
    return OperationalError(f"IO: [libpq] {words}\n. SQLSTATE: {state}", status_code=10, sqlstate=state)


def test_the_password_goes_to_the_client_and_nowhere_else() -> None:
    assert HOME.uri.startswith("postgresql://me:p%40ss%2Fw%3Ard%25@db.example:5433/prices?")
    assert ("sslmode=verify-full" in HOME.uri, HOME.where) == (True, "postgresql://me@db.example:5433/prices")
    told = str(explained(fault(None, f"bad {SECRET} and p%40ss%2Fw%3Ard%25"), HOME, connected=True))
    for shown in (HOME.where, repr(HOME), told):
        assert SECRET not in shown
        assert "p%40ss" not in shown
    for url in ("postgresql://me:hidden@h/d", "postgresql://me@h/d?password=hidden"):
        address = Address.of(url, None)
        assert "me:hidden@h" in address.uri
        assert "hidden" not in address.where + repr(address)
    assert "hidden" not in Address.of("postgresql://me:hidden@h/d", "better").uri
    for url in ("mysql://me@h/d", "postgresql://me@h", "db.example", "postgresql://h/d"):
        with pytest.raises(ParameterError, match=r"sinks\.postgres\.url"):
            Address.of(url, None)


PASSING = ("53100", "53300", "57P01", "57014", "40P01", "55P03", "08006", "25006", None)
LASTING = {"23505": Conflict, "22021": NotText, "42P01": TablesChanged, "42501": Fatal, "22003": Fatal}
NO_TABLE = ProgrammingError('NOT_FOUND: relation "s.t" does not exist', status_code=3)


@pytest.mark.parametrize(("error", "kind"), [
    *(pytest.param(fault(state), Retryable, id=f"{state} is waited for") for state in PASSING),
    *(pytest.param(fault(state), kind, id=state) for state, kind in LASTING.items()),
    pytest.param(NO_TABLE, TablesChanged, id="COPY finds no table: it was changed behind our back"),
])  # fmt: skip
def test_what_passes_is_waited_for_and_what_does_not_says_what_it_is(error: Error, kind: type[Exception]) -> None:
    told = explained(error, HOME, connected=True)
    assert type(told) is kind
    assert kind is not Retryable or "nothing is lost" in str(told)


@pytest.mark.parametrize(("words", "do"), [
    ('FATAL:  password authentication failed for user "me"', "MARKETPULSE_SINKS__POSTGRES__PASSWORD"),
    ("fe_sendauth: no password supplied", "MARKETPULSE_SINKS__POSTGRES__PASSWORD"),
    ('FATAL:  role "me" does not exist', "CREATE ROLE \"me\" LOGIN PASSWORD '…';"),
    ('FATAL:  database "prices" does not exist', 'CREATE DATABASE "prices" OWNER "me";'),
    ('FATAL:  role "me" is not permitted to log in', 'ALTER ROLE "me" LOGIN;'),
    ('FATAL:  permission denied for database "prices"', 'GRANT CONNECT, CREATE, TEMPORARY ON DATABASE "prices" TO "me";'),
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "pg_hba.conf"),
    ("server does not support SSL, but SSL was required", "sinks.postgres.url"),
    ('invalid sslmode value: "perhaps"', "sinks.postgres.url"),
    *((words, None) for words in (  # away or busy
        "FATAL:  the database system is starting up", "FATAL:  sorry, too many clients already", "Connection refused",
        "FATAL:  remaining connection slots are reserved", "timeout expired", "ВАЖНО:  something else",
    )),
])  # fmt: skip
def test_a_refused_login_names_what_to_do_and_a_busy_server_is_waited_for(words: str, do: str | None) -> None:
    told = explained(fault(None, words), HOME, connected=False)
    assert isinstance(told, Retryable if do is None else Fatal)
    assert (do or "") in str(told)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


NOW = utc(2024, 12, 31, 23, 59)


@pytest.mark.parametrize(
    ("length", "start", "end"),
    [("day", utc(2024, 12, 31), utc(2025, 1, 1)), ("week", utc(2024, 12, 30), utc(2025, 1, 6)), ("month", utc(2024, 12, 1), utc(2025, 1, 1))],
)  # fmt: skip
def test_periods_follow_each_other_without_a_gap(length: periods.Length, start: dt.datetime, end: dt.datetime) -> None:
    assert periods.period_of(NOW, length) == periods.period_of(start, length) == periods.Period(start, end)
    assert periods.period_of(end, length).start == end
    several = list(islice(periods.following(periods.period_of(utc(2023, 11, 20), length), length), 41))
    for before, after in pairwise(several):
        assert after.start == before.end
        assert not after.overlaps(before)


def test_periods_are_made_ahead_natively_without_the_right_and_views_name_our_schema_alone() -> None:
    times = [utc(2024, 12, 3), utc(2024, 12, 4), utc(2020, 1, 1), utc(2031, 1, 1)]
    forever = dt.timedelta(days=10_000)
    assert [p.start for p in periods.wanted(times, NOW, "week", forever)] == [
        utc(2024, 12, 2), utc(2024, 12, 30), utc(2025, 1, 6), utc(2025, 1, 13),
    ]  # fmt: skip
    assert utc(2024, 12, 2) not in [p.start for p in periods.wanted(times, NOW, "week", dt.timedelta(days=20))]
    for extension in ([], [(False, False)]):
        layout = periods.choose_layout(Catalogue(extension), "marketpulse", "week")
        assert isinstance(layout, periods.NativePartitions)
        assert layout.clause(ALL["trades"]) == ' PARTITION BY RANGE ("timestamp")'
    assert isinstance(periods.choose_layout(Catalogue([(True, True)], [("p",)]), "s", "week"), periods.NativePartitions)
    assert isinstance(periods.choose_layout(Catalogue([], [("r",)]), "s", "week"), periods.Hypertables)
    # That the numbers are right stands in integration/test_postgres_adjusted.py
    for name, sql in {**VIEWS, **ADJUSTED}.items():
        assert f"VIEW {{s}}.{name} AS" in sql
        assert "public." not in sql
    assert "{s}.product" in PRODUCT
    assert all("{s}." in sql and "public." not in sql for sql in THIRD_VERSION)


class Catalogue:
    """A server that says this of its extensions and tables, and remembers what it was told."""

    def __init__(self, extension: list[tuple[Any, ...]], tables: list[tuple[Any, ...]] | None = None) -> None:
        self._extension, self._tables = extension, tables or []
        self.told: list[str] = []

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:  # noqa: ARG002
        self.told.append(sql)
        if "pg_available_extensions" in sql:
            return self._extension
        return self._tables if "pg_class" in sql else []

    def run(self, sql: str) -> None:
        self.told.append(sql)

    def copy(self, table: str, rows: pa.Table, schema: str | None) -> None:  # noqa: ARG002
        raise AssertionError("no rows here")


@pytest.mark.parametrize("extension", [(True, False), (False, True)])
def test_timescaledb_is_used_where_it_is_installed_or_may_be(extension: tuple[bool, bool]) -> None:
    server = Catalogue([extension])
    layout = periods.choose_layout(server, "marketpulse", "week")
    assert isinstance(layout, periods.Hypertables)
    assert server.told[-1] == "CREATE EXTENSION IF NOT EXISTS timescaledb"
    layout.created(server, '"marketpulse"', ALL["bars"])
    made = "create_hypertable('\"marketpulse\".bars', 'open_time', chunk_time_interval => INTERVAL '1 week'"
    assert made in server.told[-1]
    layout.drop_old(server, '"marketpulse"', ALL["bars"], NOW)
    assert "drop_chunks('\"marketpulse\".bars', TIMESTAMPTZ '2024-12-31T23:59:00+00:00')" in server.told[-1]
    assert layout.clause(ALL["bars"]) == ""


MINUTE_NS = 60 * 10**9


def bars(*rows: tuple[str, str, int, int, float | None]) -> pa.Table:
    """(symbol, timeframe, open_time_ns, revision, close); the receipt's last offset counts up."""
    found = [
        {"symbol": s, "timeframe": t, "open_time_ns": ns, "close_time_ns": ns + MINUTE_NS, "revision": r, "close": close,
         "receipt": {"topic": "market", "last_offset": i, "last_row": 3}}
        for i, (s, t, ns, r, close) in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(found, schema=BAR)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_the_contract_has_one_here_with_all_its_columns(table: str) -> None:
    assert set(ALL) == set(TABLES)
    schema = TABLES[table][1]
    if table == "indicators":
        schema = schema.append(BAR.field("receipt"))
    assert {one.name: one.type for one in ALL[table].arrange(schema.empty_table()).schema} == ALL[table].columns()


def test_rows_lie_by_their_key_to_the_nanosecond_and_last_trade_and_of_one_the_highest_revision_is_the_newest() -> None:
    table = ALL["bars"]
    rows = bars(("B", "1m", 0, 0, 1.0), ("A", "5m", 0, 0, 2.0), ("A", "1m", MINUTE_NS, 0, 3.0), ("A", "1m", 0, 1, 4.0))
    assert table.arrange(rows).column("close").to_pylist() == [4.0, 3.0, 2.0, 1.0]
    arranged = table.arrange(bars(("A", "1m", 0, 1, 1.0), ("A", "1m", 0, 0, 2.0), ("B", "1m", 0, 3, None)))
    newest = table.newest(arranged)
    assert (newest.column("close").to_pylist(), table.withdrawn(newest).to_pylist()) == ([1.0, None], [False, True])
    assert table.newest(arranged.slice(0, 0)).num_rows == 0
    places = [("1m", 1_001), ("1m", 1_002), ("5t", 1_002), ("5t", 1_002)]
    arranged = table.arrange(bars(*(("A", timeframe, ns, 0, float(n)) for n, (timeframe, ns) in enumerate(places))))
    assert arranged.column("tick").to_pylist() == [1, 2, (2 << 20) + 3, (3 << 20) + 3]
    assert [one.microsecond for one in arranged.column("open_time").to_pylist()] == [1, 1, 1, 1]


def test_names_fit_and_are_quoted_as_texts_are_nul_becomes_its_sign_and_a_password_is_kept_as_servers_do() -> None:
    assert column_name("sma_20") == "sma_20"
    names = {column_name(name) for name in ("é" * 40, "é" * 41)}
    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)
    assert (identifier('a"b'), text("it's")) == ('"a""b"', "'it''s'")
    lists = pa.array([["\0"], None, [None, "k"]], pa.list_(pa.string()))
    rows = pa.table({"a": ["x\0y", None, "z"], "b": lists, "c": [1, 2, 3]})
    assert without_nul(rows).to_pydict() == {"a": ["x␀y", None, "z"], "b": [["␀"], None, [None, "k"]], "c": [1, 2, 3]}
    # Salt, rounds and password of the example in RFC 7677.
    assert scram_verifier("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram_verifier("pencil") != scram_verifier("pencil")
