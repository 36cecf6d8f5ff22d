"""What needs no database: of PostgreSQL faults, periods, tables as columns and names (the rest:
integration/test_postgres.py); of Redis what a partition's rows ask of it and change in it, and its faults (the server's
side: integration/test_redis.py)."""

import datetime as dt
import json
import math
from base64 import b64decode
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any

import orjson
import pyarrow as pa
import pytest
import redis
from adbc_driver_manager import Error, OperationalError, ProgrammingError
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from board_rows import row
from market_rows import at
from marketpulse.errors import Fatal, MarketPulseError, ParameterError, Retryable
from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.rows import BAR
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import RedisSettings
from marketpulse.sinks import postgres_periods as periods
from marketpulse.sinks.postgres_adjusted import ADJUSTED, PRODUCT
from marketpulse.sinks.postgres_client import Parameters
from marketpulse.sinks.postgres_faults import Address, Conflict, NotText, TablesChanged, explained, identifier, text
from marketpulse.sinks.postgres_schema import scram_verifier
from marketpulse.sinks.postgres_tables import ALL, column_name, without_nul
from marketpulse.sinks.postgres_views import THIRD_VERSION, VIEWS
from marketpulse.sinks.redis_plan import ALERT_CHANGES, SPARE, PartitionPlan, asked
from marketpulse.sinks.redis_store import fault_of, open_redis
from marketpulse.sinks.sessions import SESSIONS_KEPT, Part, Session, SessionsOf, Sum, date_of

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


KEYS = RedisKeys("mp:")
SETTINGS = RedisSettings(recent_bars=2, day_timeframe="1m")
DAY = "2026-01-01"


def batch(table: str, rows: list[dict[str, Any]], first: int = 0) -> SinkBatch:
    found = pa.RecordBatch.from_pylist(rows, schema=TABLES[table][1])
    return SinkBatch(table, TABLES[table][0], 0, first, first + len(rows), found)


def plan(**rows: list[dict[str, Any]]) -> PartitionPlan:
    return PartitionPlan(SETTINGS, KEYS, {table: [batch(table, some)] for table, some in rows.items()})


def operations(found: PartitionPlan, answers: list[Any]) -> list[list[Any]]:
    """After these answers; of the bars of a day the store has none."""
    more = found.more_questions(answers)
    done: list[list[Any]] = orjson.loads(found.operations([{} for _ in more]))
    return done


def trade(symbol: str, seconds: float, price: float, offset: int) -> dict[str, Any]:
    return {"type": "trade", "symbol": symbol, "source": "s", "event_time_ns": at(seconds), "price": price, "size": 1.0,
            "topic": "market", "partition": 0, "offset": offset, "row": 0}  # fmt: skip


def bar(minute: int, close: float | None, revision: int = 0, timeframe: str = "1m") -> dict[str, Any]:
    span = 86_400 if timeframe == "1d" else 60
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), close)
    receipt = {"topic": "market", "partition": 0, "last_offset": minute, "last_row": 0}
    return {"symbol": "A", "timeframe": timeframe, "open_time_ns": at(60 * minute), "close_time_ns": at(60 * minute + span),
            **prices, "volume": 2.0 if close else None, "trade_count": 1, "revision": revision, "receipt": receipt}  # fmt: skip


def alert(minute: int, state: str, revision: int = 0) -> dict[str, Any]:
    return {"symbol": "A", "rule": "high", "severity": "info", "timeframe": "1m", "event_time_ns": at(60 * minute),
            "state": state, "revision": revision}  # fmt: skip


def of_kind(found: list[list[Any]], kind: str) -> list[list[Any]]:
    return [operation for operation in found if operation[0] == kind]


def test_of_trades_and_alerts_the_newest_is_told_withdrawn_ones_are_marked_and_no_password_is_shown() -> None:
    found = plan(trades=[trade("A", 5, 1.5, 7), trade("A", 5, 2.5, 8), trade("A", 4, 9.0, 9), trade("B", 1, 3.0, 10)])
    assert found.questions() == []
    newest = {o[1]: o for o in operations(found, [])}
    assert set(newest) == {"mp:price:A", "mp:price:B"}
    kind, _, channel, time_ns, offset, row, text, missing, pairs = newest["mp:price:A"]
    assert (kind, channel, time_ns, offset, row) == ("newest", "mp:updates:prices", str(at(5)), "8", "0")
    assert (json.loads(text)["price"], "venue" in missing) == (2.5, True)
    assert dict(zip(pairs[::2], pairs[1::2], strict=True))["price"] == "2.5"
    empty = plan(trades=[], bars=[], alerts=[])
    assert (asked([empty.questions(), [("HGETALL", "k")]]), operations(empty, [])) == ([("HGETALL", "k")], [])
    some = [alert(n, "raised") for n in range(ALERT_CHANGES + 3)]
    (told,) = operations(plan(alerts=[*some, alert(4, "withdrawn", revision=1)]), [])
    names = ["mp:recent:alerts:A:high", "mp:alerts", "mp:updates:alerts", "A high"]
    assert told[:6] == ["alert", *names, str(ALERT_CHANGES)]
    assert told[6] == [repr(at(60 * n) / 1e6) for n in range(3, ALERT_CHANGES + 3)]
    assert [place for place, mark in enumerate(told[8]) if mark] == [1]
    assert "hidden" not in open_redis(SECRET_SETTINGS).where + repr(SECRET_SETTINGS)
    with pytest.raises(ParameterError, match=r"sinks\.redis\.url"):
        open_redis(RedisSettings(url="redis://127.0.0.1:6379/?socket_timeout=soon"))


def test_a_series_gets_the_last_revision_of_each_kept_bar_and_behind_a_withdrawn_one_the_one_before() -> None:
    kept = SETTINGS.recent_bars + SPARE
    found = plan(bars=[*[bar(n, 10.0 + n) for n in range(kept + 5)], bar(6, 99.0, revision=1)])
    assert found.questions() == [("HGETALL", "mp:sessions:A")]  # nothing was withdrawn: no row is asked for
    (series,) = of_kind(operations(found, [{}]), "series")
    assert (series[1], series[4]) == ("mp:recent:bars:A:1m", str(kept))
    texts = [json.loads(text) for text in series[7]]
    assert [row["open_time_ns"] for row in texts] == [at(60 * n) for n in range(5, kept + 5)]
    assert [(r["close"], r["revision"]) for r in texts if r["open_time_ns"] == at(360)] == [(99.0, 1)]
    assert series[6] == [repr(at(60 * n) / 1e6) for n in range(5, kept + 5)]
    found = plan(bars=[bar(3, None, revision=1)])
    assert found.questions()[0] == ("ZREVRANGE", "mp:recent:bars:A:1m", 0, 1, "WITHSCORES")
    held = ["the withdrawn one", repr(at(180) / 1e6), orjson.dumps({"close": 12.0}).decode(), repr(at(120) / 1e6)]
    (series,) = of_kind(operations(found, [held, {}]), "series")
    assert (series[8], series[-1]) == (["1"], ["close", "12.0"])


SECRET_SETTINGS = RedisSettings(password="hidden")


@pytest.mark.parametrize(("error", "kind", "said"), [
    (redis.ConnectionError("Error 111 connecting"), Retryable, "does not answer"),
    (redis.TimeoutError("Timeout reading from socket"), Retryable, "does not answer"),
    (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), Retryable, "takes no writes"),
    (redis.ResponseError("ERR Error running script: -OOM command not allowed"), Retryable, "maxmemory"),
    (redis.ResponseError("MISCONF Errors writing to the AOF file"), Retryable, "free space"),
    (redis.ResponseError("WRONGTYPE Operation against a key"), Fatal, "prefix"),
    (redis.exceptions.MovedError("1 127.0.0.1:7001"), Fatal, "cluster"),
    (redis.ConnectionError("SSL: CERTIFICATE_VERIFY_FAILED"), Fatal, "ssl_ca_certs"),
    (redis.ResponseError("unknown command 'EVALSHA'"), Fatal, "EVALSHA"),
    (redis.exceptions.AuthenticationError("WRONGPASS"), Fatal, "MARKETPULSE_SINKS__REDIS__PASSWORD"),
])  # fmt: skip
def test_an_error_says_what_to_do_next(error: redis.RedisError, kind: type[MarketPulseError], said: str) -> None:
    fault = fault_of(SECRET_SETTINGS, error)
    assert isinstance(fault, kind)
    assert said in str(fault)
    assert "nothing is lost" in str(fault)


SESSION_DAY = "2024-05-01"
numbers = floats(1e-9, 1e12)


def part(open_ns: int, close: float | None, volume: float = 1.0) -> Part:
    return Part(open_ns, close, close, close, close, volume, (close or 0.0) * volume, 1)


def day_of(parts: Sequence[Part]) -> dict[str, Any]:
    sessions = SessionsOf()
    sessions.take(SESSION_DAY, parts, anew=True)
    return sessions.held[SESSION_DAY].figures()


@given(values=lists(floats(-1e300, 1e300), max_size=40), cut=integers(0, 40))
def test_a_sum_is_exact_however_it_is_cut_and_stored(values: list[float], cut: int) -> None:
    total = Sum()
    for number, value in enumerate(values):
        if number == cut:
            total = Sum(total.parts)
        total.add(value)
    assert Sum(total.parts).rounded == total.rounded == math.fsum(values)


@given(bars=lists(tuples(numbers, numbers), min_size=1, max_size=30), cut=integers(0, 30))
def test_a_day_is_the_same_in_one_piece_and_in_two(bars: list[tuple[float, float]], cut: int) -> None:
    parts = [part(n, close, volume) for n, (close, volume) in enumerate(bars)]
    sessions = SessionsOf()
    for some in (parts[:cut], parts[cut:]):
        assert not sessions.needs_parts(SESSION_DAY, {p.open_ns: (p, 0) for p in some})
        sessions.take(SESSION_DAY, some, anew=False)
        held = {date: Session.of_stored(one.figures() | one.state()) for date, one in sessions.held.items()}
        sessions = SessionsOf(held)
    assert sessions.held[SESSION_DAY].figures() == day_of(parts)
    assert sessions.held[SESSION_DAY].volume.rounded == math.fsum(volume for _, volume in bars)


def test_only_bars_that_follow_the_others_are_added_a_day_alone_has_no_change_and_a_close_may_be_the_vwap() -> None:
    sessions = SessionsOf()
    sessions.take(SESSION_DAY, [part(60, 1.0)], anew=False)
    assert not sessions.needs_parts(SESSION_DAY, {120: (part(120, 1.0), 0)})
    assert sessions.needs_parts(SESSION_DAY, {30: (part(30, 1.0), 0)})
    assert sessions.needs_parts(SESSION_DAY, {120: (part(120, None), 1)})
    assert not sessions.needs_parts("2024-05-02", {30: (part(30, 1.0), 1)})
    assert Session(SESSION_DAY).figures()["change_percent"] is None
    assert Part.of(row("A", "1d", 0, 4.0, vwap=None, volume=3.0)).value == 12.0
    assert Part.of({**row("A", "1d", 0, 4.0), "vwap": None, "volume": None, "close": None}).value is None
    sessions.take(SESSION_DAY, [Part.of({**row("A", "1m", 120, 4.0), "volume": None})], anew=False)
    held = sessions.held[SESSION_DAY]
    figures = Session.of_stored(json.loads(json.dumps(held.figures() | held.state()))).figures()
    assert (figures["volume"], figures["value"], figures["close"]) == (None, None, 4.0)


def test_a_change_is_from_the_session_before_that_traded_and_the_oldest_days_go_and_change_nothing() -> None:
    sessions = SessionsOf()
    sessions.take_own_bar("2024-04-29", part(0, 50.0))
    sessions.take_own_bar("2024-04-30", part(1, None))
    sessions.take(SESSION_DAY, [part(2, 60.0), part(3, 75.0)], anew=False)
    assert sessions.settle() == []
    figures = sessions.held[SESSION_DAY].figures()
    assert (figures["reference"], figures["change"], figures["change_percent"]) == (50.0, 25.0, 50.0)
    assert sessions.held["2024-04-29"].figures()["previous_close"] is None
    assert sessions.newest is sessions.held[SESSION_DAY]
    sessions = SessionsOf()
    dates = [f"2024-05-{n:02}" for n in range(1, SESSIONS_KEPT + 3)]
    for n, date in enumerate(dates):
        sessions.take_own_bar(date, part(n, float(n + 1)))
    assert (sessions.settle(), sessions.held[dates[2]].previous_close) == (dates[:2], 2.0)
    sessions.changed.clear()
    sessions.take_own_bar(dates[0], part(0, 99.0))
    sessions.take(dates[1], [part(0, 99.0)], anew=False)
    sessions.take_own_bar(dates[2], part(2, 7.0))  # the oldest that is held keeps what it is compared with
    assert (sessions.settle(), sessions.changed) == ([], {dates[2], dates[3]})
    assert sessions.held[dates[2]].previous_close == 2.0


@pytest.mark.parametrize(("given_date", "found"), [("2024-07-03", "2024-07-03"), (None, "2024-05-01")])
def test_a_bar_without_a_session_date_belongs_to_its_utc_day(given_date: str | None, found: str) -> None:
    assert date_of(row("A", "1m", 1_714_521_600 + 86_399, 1.0, session_date=given_date)) == found
