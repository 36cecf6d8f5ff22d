"""What the PostgreSQL sink alone promises (conformance/test_every_sink.py has the rest), on the real server."""

# ruff: noqa: S608  (SQL of our own)

import datetime as dt
import json
import math
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

import athena_queries as tutorial_queries
from log_of_rows import batch
from marketpulse.clock import ManualClock
from marketpulse.errors import Fatal, Retryable
from marketpulse.model.rows import BAR, indicators_schema
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import PostgresSettings
from marketpulse.sinks import postgres, postgres_client, postgres_schema, postgres_upkeep
from marketpulse.sinks.postgres import PostgresSink, open_postgres
from postgres_store import PASSWORD, USER, PostgresPlace, PostgresServer
from refused import assert_raises
from storing_child import store
from waiting import wait_until

SECOND_NS, DAY_S = 10**9, 86_400
MONDAY_S = 1_714_953_600  # 2024-05-06T00:00:00Z
Row = dict[str, Any]
Open = Callable[..., PostgresSink]
Told = dict[str, list[Row]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the sink's logger was told, by event."""
    events: Told = defaultdict(list)

    def note(event: str, **fields: Any) -> None:
        events[event].append(fields)

    for module in (postgres, postgres_schema):
        monkeypatch.setattr(module, "get_logger", lambda: SimpleNamespace(info=note, warning=note))
    return events


@pytest.fixture
def opened(place: PostgresPlace) -> Iterator[Open]:
    """A sink at this place, at this time, with other settings where they are given."""
    sinks = []

    def make(now_s: float = MONDAY_S, **changed: Any) -> PostgresSink:
        settings = PostgresSettings(**{**place.section(), **changed})
        sinks.append(open_postgres(settings, ManualClock(round(now_s * 1e9))))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


class Feed:
    """Rows for a sink, each batch behind the one before."""

    def __init__(self, sink: PostgresSink) -> None:
        self.sink, self._next = (sink, dict.fromkeys(("market", "bars", "indicators", "alerts", "dead-letters"), 0))

    def put(self, table: str, *rows: Row, schema: pa.Schema | None = None) -> None:
        topic, known = TABLES[table]
        first = self._next[topic]
        self._next[topic] += max(1, len(rows))
        told = pa.RecordBatch.from_pylist(list(rows), schema=schema or known)
        self.sink.write(SinkBatch(table, topic, 0, first, self._next[topic], told))

    def store(self, table: str, *rows: Row, schema: pa.Schema | None = None) -> None:
        self.put(table, *rows, schema=schema)
        self.sink.flush()

    def go_on(self, sink: PostgresSink) -> None:
        self.sink = sink
        sink.resume()


@pytest.fixture
def feed(opened: Open) -> Feed:
    return Feed(opened())


PLACES = {"first_offset": 1, "first_row": 0, "last_offset": 5, "last_row": 2}
RECEIPT = {"topic": "market", "partition": 0, **PLACES, "late_count": 0, "engine_version": "3"}


def trade(symbol: str, at_s: float, price: float, offset: int, **more: Any) -> Row:
    return {
        "type": "trade", "symbol": symbol, "source": "test", "event_time_ns": round(at_s * 1e9), "price": price,
        "size": 2.0, "topic": "market", "partition": 0, "offset": offset, "row": 0, **more,
    }  # fmt: skip


def bar(symbol: str, timeframe: str, open_s: float, length_s: float, prices: str, **more: Any) -> Row:
    """A bar with the open, high, low and close in `prices`, and the volume behind them."""
    first, high, low, last, volume = (float(word) for word in prices.split())
    return {
        "symbol": symbol, "timeframe": timeframe, "open_time_ns": round(open_s * 1e9),
        "close_time_ns": round((open_s + length_s) * 1e9), "open": first, "high": high, "low": low, "close": last,
        "volume": volume, "vwap": (high + low) / 2, "trade_count": 3, "revision": 0,
        "session_date": dt.datetime.fromtimestamp(open_s, dt.UTC).date(), "receipt": RECEIPT, **more,
    }  # fmt: skip


def test_every_table_of_the_contract_is_there_with_its_types_and_a_key(place: PostgresPlace, opened: Open) -> None:
    opened().resume()
    columns = {
        (c["table_name"], c["column_name"]): c["data_type"]
        for c in place.found("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'marketpulse'")
    }  # fmt: skip
    kinds = {"string": "text", "int64": "bigint", "int32": "integer", "double": "double precision",
             "bool": "boolean", "date32[day]": "date", "list<item: string>": "ARRAY"}  # fmt: skip
    keys = place.sql("SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p' AND conparentid = 0")
    for table, (_, schema) in TABLES.items():
        for field in schema:
            if field.name != "receipt":
                assert columns[table, field.name] == kinds[str(field.type)], (table, field.name)
        assert f"marketpulse.{table}" in keys
    for name in (("trades", "timestamp"), ("bars", "open_time"), ("bars", "close_time"), ("alerts", "event_time")):
        assert columns[name] == "timestamp with time zone"


def test_every_bit_is_kept_times_stand_in_both_ways_and_a_receipt_lies_flat(place: PostgresPlace, feed: Feed) -> None:
    feed.store(
        "trades",
        trade("A", 0, 0.1 + 0.2, 0, event_time_ns=1_714_953_600_123_456_789, conditions=["@", None, "T"]),
        trade("A", MONDAY_S, 5e-324, 1, size=1.7976931348623157e308),
        trade("Ä/€", MONDAY_S, math.nan, 2, size=-0.0, ingest_time_ns=2**62),
    )
    assert place.sql("SELECT float8send(price), float8send(size) FROM marketpulse.trades ORDER BY \"offset\"") == [
        r"\x3fd3333333333334|\x4000000000000000", r"\x0000000000000001|\x7fefffffffffffff",
        r"\x7ff8000000000000|\x8000000000000000",
    ]  # fmt: skip
    first = place.sql('SELECT "timestamp", event_time_ns, conditions FROM marketpulse.trades WHERE "offset" = 0')
    assert first == ["2024-05-06 00:00:00.123456+00|1714953600123456789|{@,NULL,T}"]
    assert place.sql('SELECT symbol, ingest_time_ns FROM marketpulse.trades WHERE "offset" = 2') == [f"Ä/€|{2**62}"]
    feed.store("bars", bar("A", "1m", MONDAY_S, 60, "1 2 0.5 1.5 9"))
    (found,) = place.found("SELECT * FROM marketpulse.bars")
    assert {k.removeprefix("receipt_"): v for k, v in found.items() if k.startswith("receipt_")} == RECEIPT


def test_nul_is_stored_as_its_sign_and_withdrawn_alerts_hidden(place: PostgresPlace, feed: Feed, told: Told) -> None:
    feed.put("trades", trade("A", MONDAY_S, 1.0, 0))
    letter = {"reason": "not_json", "topic": "market", "partition": 0, "offset": 3, "timeframes": ["1\0m"]}
    feed.store("dead_letters", {**letter, "value": "a\0b\0"}, {**letter, "value": "plain"})
    told_values = place.sql("SELECT value, timeframes FROM marketpulse.dead_letters ORDER BY id")
    assert told_values == ["a␀b␀|{1␀m}", "plain|{1␀m}"]
    assert place.sql("SELECT count(*) FROM marketpulse.trades") == ["1"]
    assert told["nul_in_text_replaced"]

    def alert(rule: str, state: str, revision: int) -> Row:
        return {"symbol": "A", "rule": rule, "severity": "info", "timeframe": "1m", "open_time_ns": MONDAY_S * SECOND_NS,
                "event_time_ns": (MONDAY_S + 60) * SECOND_NS, "state": state, "late": revision > 0, "revision": revision}  # fmt: skip

    raised = (alert(rule, "raised", 0) for rule in ("dip", "top", "gone"))
    feed.store("alerts", *raised, alert("gone", "withdrawn", 1))
    feed.store("alerts", alert("dip", "withdrawn", 1))
    assert place.sql("SELECT rule, state, event_time FROM marketpulse.alerts") == ["top|raised|2024-05-06 00:01:00+00"]


def test_tick_bars_all_stay_long_names_are_columns_and_revisions_replace_rows(place: PostgresPlace, feed: Feed) -> None:
    receipts = ({**RECEIPT, "last_offset": 7 + n // 2, "last_row": n % 2} for n in range(4))
    bars = (bar("A", "1t", MONDAY_S, 0, f"{n} {n} {n} {n} 1", receipt=one) for n, one in enumerate(receipts))
    feed.store("bars", *bars)
    assert place.sql("SELECT close FROM marketpulse.bars ORDER BY tick") == ["0", "1", "2", "3"]
    names = ["my_" + "x" * 80, "my_" + "x" * 81, 'odd "name']
    row = {**bar("A", "1m", MONDAY_S, 60, "1 2 0.5 1.5 9"), **dict(zip(names, (1.0, 2.0, 3.0), strict=True))}
    feed.store("indicators", row, schema=indicators_schema(names))
    (found,) = place.found("SELECT * FROM marketpulse.indicators")
    assert sorted(v for k, v in found.items() if k.startswith(("my_", "odd"))) == [1, 2, 3]
    head = bar("A", "1m", MONDAY_S, 60, "1 2 0.5 1.5 9")
    for more in ({"sma_20": 1.0, "ema_12": 2.0}, {"revision": 2, "sma_20": 3.0}, {"revision": 1, "sma_20": 9.0}):
        schema = indicators_schema([name for name in more if name != "revision"])
        feed.store("indicators", {**head, **more}, schema=schema)
    assert place.sql("SELECT revision, sma_20, ema_12 FROM marketpulse.indicators") == ["2|3|"]


def as_lines(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row, default=str, sort_keys=True) for row in rows)


def known(table: str, end: int) -> list[Row]:
    """What `store` has put into both partitions."""
    return [row for p in (0, 1) for row in batch(table, p, 0, end).rows.to_pylist()]


def test_removed_offsets_double_nothing_dropped_schemas_refill(place: PostgresPlace, opened: Open, told: Told) -> None:
    store(opened(), end=30, cut=30)
    sink = opened()
    sink.resume()
    one = pa.RecordBatch.from_pylist([bar("A", "1m", MONDAY_S, 60, "1 2 0.5 1.5 9", revision=3)], schema=BAR)
    sink.write(SinkBatch("bars", "bars", 0, 30, 31, one))
    sink.flush()
    place.sql("DELETE FROM marketpulse.offsets")
    store(opened(), end=40, cut=40)
    for table in ("trades", "quotes", "events", "bars"):
        assert as_lines([row for row in place.rows(table) if row["symbol"] != "A"]) == as_lines(known(table, 40))
    assert place.sql("SELECT revision FROM marketpulse.bars WHERE symbol = 'A'") == ["3"]
    assert told["rows_were_stored_before"]

    sink = opened()
    store(sink, end=60, cut=20)
    place.sql("DROP SCHEMA marketpulse CASCADE")
    sink.write(batch("bars", 0, 60, 70))
    for said in ("nothing is lost", "has lost rows of bars-00"):
        assert_raises(Retryable, said, sink.flush)
    store(sink, end=70, cut=10)
    assert place.sql("SELECT count(*) FROM marketpulse.bars") == [str(2 * 56)]


def test_stock_data_takes_the_query_that_people_write(place: PostgresPlace, feed: Feed) -> None:
    told = ((MONDAY_S, "A", 10.004), (MONDAY_S + 1, "A", 10.005), (MONDAY_S + DAY_S, "B", 7.0))
    feed.store("trades", *(trade(symbol, at, price, n) for n, (at, symbol, price) in enumerate(told)))
    sql = "SET search_path = marketpulse; "
    assert place.sql(sql + "SELECT ROUND(AVG(price), 2) FROM stock_data WHERE symbol = 'A'") == ["10.00"]
    columns = "symbol, date(timestamp) AS trading_day, ROUND(AVG(price), 2) AS avg_daily_price, sum(volume)"
    query = f"SELECT {columns} FROM stock_data GROUP BY symbol, trading_day ORDER BY trading_day DESC"
    assert place.sql(sql + query) == ["B|2024-05-07|7.00|2", "A|2024-05-06|10.00|4"]


def store_tutorial(feed: Feed) -> None:
    """A trade feed with the bars that the engine made of it, and a bar feed in two timeframes."""
    place = {"type": "trade", "source": "test", "topic": "market", "partition": 0, "row": 0}
    feed.store("trades", *({**row, **place, "offset": n} for n, row in enumerate(tutorial_queries.trades())))
    minutes, days = tutorial_queries.bars(), tutorial_queries.bars(timeframe="1d", minutes=1440)
    rows = [*minutes, *days, *tutorial_queries.bars("TRADES", close=77.0)]
    feed.store("bars", *({**row, "receipt": RECEIPT} for row in rows))


def test_a_tutorials_queries_give_the_same_rows_for_trade_and_bar_feed(place: PostgresPlace, feed: Feed) -> None:
    store_tutorial(feed)
    for name, (query, _) in tutorial_queries.QUERIES.items():
        rows = place.sql(f"SET search_path = marketpulse; {query}")
        assert [(row.split("|")[0], float(row.split("|")[-1])) for row in rows] == tutorial_queries.answer(name), name
    kinds = "SELECT symbol, kind, count(*) FROM marketpulse.stock_data GROUP BY 1, 2 ORDER BY 1"
    assert place.sql(kinds) == ["BARS|bar|4", "TRADES|trade|4"]


def test_stock_data_shows_the_smallest_bars_as_their_last_revision_says(place: PostgresPlace, feed: Feed) -> None:
    for timeframe, close in (("100t", 3), ("90s", 1), ("2m", 4), ("1d", 2)):
        feed.store("bars", bar("A", timeframe, MONDAY_S, 90, f"1 9 1 {close} 5"))
        feed.store("bars", bar("A", timeframe, MONDAY_S, 90, f"1 9 1 {close * 10} 5", revision=1))
    asked = "SELECT price, volume FROM marketpulse.stock_data WHERE symbol = 'A'"
    assert place.sql(asked) == ["10|5"]
    gone = {**dict.fromkeys(("open", "high", "low", "close", "vwap")), "volume": 0.0, "revision": 2}
    feed.store("bars", *({**bar("A", timeframe, MONDAY_S, 90, "1 9 1 1 5"), **gone} for timeframe in ("90s", "2m")))
    assert place.sql(asked) == ["20|5"]  # the days: bars by trades show only where there are no others
    feed.store("trades", trade("A", MONDAY_S - 300 * DAY_S, 7.0, 0))
    assert place.sql(asked) == ["7|2"]


def plan_steps(plan: Row) -> list[Row]:
    return [plan, *(step for inner in plan.get("Plans", ()) for step in plan_steps(inner))]


def test_a_query_for_a_symbol_with_trades_and_a_time_reads_no_bars(place: PostgresPlace, feed: Feed) -> None:
    store_tutorial(feed)
    where = "WHERE symbol = '{}' AND timestamp BETWEEN '2024-05-06' AND '2024-05-08'"
    feed.store("bars", *(bar("TRADES", "1m", MONDAY_S + 60 * n, 60, "1 1 1 1 1") for n in range(5_000) if n % 60))
    place.sql("ANALYZE marketpulse.bars, marketpulse.bar_series, marketpulse.trades")
    explain = f"EXPLAIN (ANALYZE, FORMAT json) SELECT sum(price) FROM marketpulse.stock_data {where}"
    steps = plan_steps(json.loads("\n".join(place.sql(explain.format("TRADES"))))[0]["Plan"])
    read = [step["Actual Loops"] for step in steps if step.get("Relation Name", "").startswith("bars")]
    assert read
    assert not any(read)
    assert place.sql("SELECT count(*) FROM marketpulse.stock_data " + where.format("BARS")) == ["3"]


def test_a_store_of_an_earlier_version_lists_its_series_and_shows_its_bars(
    place: PostgresPlace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The views of that version stand in the way of none of the new ones, and a second start changes nothing."""
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", postgres_schema.MIGRATIONS[:2])
    monkeypatch.setattr(postgres.PostgresSink, "_list_series", lambda *_: set())
    feed = Feed(opened())
    store_tutorial(feed)
    columns = 'symbol, "timestamp", price::numeric AS price, size AS volume'
    place.sql(f"SET ROLE {USER}; CREATE VIEW marketpulse.stock_data AS SELECT {columns} FROM marketpulse.trades")
    monkeypatch.undo()
    for _ in range(2):
        feed.go_on(opened())
        kinds = place.sql("SELECT symbol, kind, count(*) FROM marketpulse.stock_data GROUP BY 1, 2 ORDER BY 1")
        assert kinds == ["BARS|bar|4", "TRADES|trade|4"]
    assert place.sql("SELECT * FROM marketpulse.bar_series ORDER BY 1, 2") == ["BARS|1d", "BARS|1m", "TRADES|1m"]


def test_latest_price_is_the_newest_trade_or_else_the_newest_bar(place: PostgresPlace, feed: Feed) -> None:
    told = (("A", MONDAY_S + 5, 2.0), ("A", MONDAY_S + 9, 3.0), ("A", MONDAY_S + 9, 4.0), ("B", 90_000, 1.0))
    feed.store("trades", *(trade(*one, n) for n, one in enumerate(told)))
    feed.store("bars", bar("A", "1m", MONDAY_S, 600, "9 9 9 9 9"), bar("C", "1d", MONDAY_S - DAY_S, DAY_S, "1 1 1 5 1"))
    feed.store("bars", bar("C", "1m", MONDAY_S, 60, "1 1 1 6 1"))
    assert place.sql("SELECT symbol, price, seen_in, extract(epoch FROM timestamp)::bigint FROM marketpulse.latest_price ORDER BY symbol") == [
        f"A|4|trade|{MONDAY_S + 9}", "B|1|trade|90000", f"C|6|bar|{MONDAY_S + 60}",
    ]  # fmt: skip
    latest = place.sql("SELECT symbol, timeframe, close FROM marketpulse.latest_bars ORDER BY 1, 2")
    assert latest == ["A|1m|9", "C|1d|5", "C|1m|6"]


def test_daily_summary_gainers_losers_and_volatility_of_a_week(place: PostgresPlace, feed: Feed) -> None:
    """A: closes 100, 110, 99 on three days, then two minutes of a day that has not closed. B: 50, 40. C: once."""
    days = [("A", 0, "95 101 94 100 7"), ("A", 1, "100 112 99 110 8"), ("A", 2, "110 111 98 99 9"),
            ("B", 1, "50 50 50 50 1"), ("B", 2, "50 50 39 40 1"), ("C", 2, "3 3 3 3 1")]  # fmt: skip
    today = MONDAY_S + 3 * DAY_S
    feed.store(
        "bars", *(bar(symbol, "1d", MONDAY_S + n * DAY_S, DAY_S, prices) for symbol, n, prices in days),
        bar("A", "1m", today - 60, 60, "1 1 1 1 1"),  # in the day that has closed
        bar("A", "1m", today, 60, "99 104 98 103 10"), bar("A", "1m", today + 60, 60, "103 109 102 108.9 30"),
    )  # fmt: skip
    columns = "date, open, high, low, close, volume, vwap, trade_count, closed, previous_close, change, round(change_percent::numeric, 9)"
    assert place.sql(f"SELECT {columns} FROM marketpulse.daily_summary WHERE symbol = 'A' ORDER BY date") == [
        "2024-05-06|95|101|94|100|7|97.5|3|t|||",
        "2024-05-07|100|112|99|110|8|105.5|3|t|100|10|10.000000000",
        "2024-05-08|110|111|98|99|9|104.5|3|t|110|-11|-10.000000000",
        "2024-05-09|99|109|98|108.9|40|104.375|6|f|99|9.900000000000006|10.000000000",  # (101·10 + 105.5·30) / 40
    ]  # fmt: skip

    returns = [math.log(1.1), math.log(0.9)]  # 100 -> 110 -> 99; the open day is not in it
    deviation = math.sqrt(sum((r - sum(returns) / 2) ** 2 for r in returns) / 1)
    found = {row["symbol"]: row for row in place.found("SELECT * FROM marketpulse.volatility")}
    assert found["A"]["sessions"] == 2
    assert found["A"]["daily_volatility"] == pytest.approx(deviation, rel=1e-12)
    assert found["A"]["annual_volatility"] == pytest.approx(deviation * math.sqrt(252), rel=1e-12)
    assert found["B"]["daily_volatility"] is None  # one return has no deviation
    assert "C" not in found

    # Nothing to compare with yet; and the others keep their rank, though they are three months older.
    feed.store("bars", bar("NEW", "1d", MONDAY_S + 90 * DAY_S, DAY_S, "1 1 1 1 1"))
    sql = "SELECT rank, symbol, date, round(change_percent::numeric, 9), direction FROM marketpulse.gainers_losers"
    assert place.sql(sql) == ["1|A|2024-05-09|10.000000000|gainer", "2|B|2024-05-08|-20.000000000|loser"]
    assert [place.sql(f"SELECT symbol FROM marketpulse.{view}") for view in ("gainers", "losers")] == [["A"], ["B"]]


def test_the_reader_reads_everything_and_writes_nothing(place: PostgresPlace, opened: Open) -> None:
    reader = f"r_{place.database}"
    place.sql(f"ALTER ROLE {USER} CREATEROLE")
    try:
        feed = Feed(opened(reader_role=reader, reader_password=SecretStr("look' only")))
        feed.store("trades", trade("A", MONDAY_S, 1.5, 0))
        both = "SELECT stock_data.price, latest_price.symbol FROM stock_data, latest_price"
        assert place.sql(both, reader, "look' only") == ["1.5|A"]
        feed.store("trades", trade("A", MONDAY_S + 30 * DAY_S, 2.5, 1))
        assert place.sql("SELECT count(*) FROM trades", reader, "look' only") == ["2"]
        for sql in ("DELETE FROM trades", "INSERT INTO trades SELECT * FROM trades", "UPDATE offsets SET next_offset = 0",
                    "CREATE TABLE marketpulse.mine (a int)", "DROP VIEW stock_data", "TRUNCATE bars"):  # fmt: skip
            with pytest.raises(subprocess.CalledProcessError) as refused:
                place.sql(sql, reader, "look' only")
            assert "permission denied" in refused.value.stderr or "must be owner" in refused.value.stderr
        assert_raises(subprocess.CalledProcessError, "", place.sql, "SELECT 1", reader, "another")
    finally:
        place.sql(f"ALTER ROLE {USER} NOCREATEROLE")


def test_who_may_not_make_the_reader_is_told_what_would(place: PostgresPlace, opened: Open, told: Told) -> None:
    reader = f'odd "{place.database}'
    sink = opened(reader_role=reader)
    Feed(sink).store("trades", trade("A", MONDAY_S, 1.5, 0))
    (entry,) = told["reader_role_is_missing"]
    assert sink.todo == (f"may not make the role {reader}: a user with CREATEROLE runs", entry["do"])
    place.sql(entry["do"].replace("'…'", "'look'"))
    assert place.sql("SELECT price FROM stock_data", reader, "look") == ["1.5"]
    again = opened(reader_role=reader)
    again.resume()
    assert again.todo == ("", "")


def test_two_processes_that_start_at_once_do_not_clash(place: PostgresPlace, opened: Open) -> None:
    sinks = [opened() for _ in range(4)]

    def begin(sink: PostgresSink, partition: int) -> None:
        store(sink, end=10, cut=5, partitions=(partition,))
        names = [f"i{partition}", "shared"]
        row = {**bar(f"S{partition}", "1m", MONDAY_S, 60, "1 1 1 1 1"), **dict.fromkeys(names, 1.0)}
        told = pa.RecordBatch.from_pylist([row], schema=indicators_schema(names))
        sink.write(SinkBatch("indicators", "indicators", partition, 0, 1, told))
        sink.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, sinks, range(4)))
    assert place.sql("SELECT count(*) FROM marketpulse.bars") == [str(4 * 8)]
    assert place.sql("SELECT sum(shared) FROM marketpulse.indicators") == ["4"]
    assert place.sql("SELECT version FROM marketpulse.schema_version ORDER BY 1") == ["1", "2", "3"]


def test_migrations_run_once_or_not_at_all(place: PostgresPlace, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store(opened(), end=10, cut=10)
    calls = []

    def second(session: postgres_client.Session, schema: str, layout: object) -> None:
        calls.append(schema)
        session.run(f"ALTER TABLE {schema}.alerts ADD COLUMN seen boolean NOT NULL DEFAULT false")

    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, second))
    for end in (20, 30):
        store(opened(), end=end, cut=10)
    assert calls == ['"marketpulse"']
    assert place.sql("SELECT version FROM marketpulse.schema_version ORDER BY 1") == ["1", "2", "3", "4"]
    assert place.sql("SELECT count(*) FROM marketpulse.bars") == [str(2 * 24)]
    monkeypatch.undo()
    assert_raises(Fatal, "made by a newer MarketPulse", opened().resume)
    place.sql("DROP SCHEMA marketpulse CASCADE")

    def broken(session: postgres_client.Session, schema: str, layout: object) -> None:
        session.run(f"CREATE TABLE {schema}.half (a int)")
        session.run("SELECT nonsense")

    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, broken))
    with pytest.raises((Fatal, Retryable)):
        opened().resume()
    assert place.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'marketpulse'") == ["0"]


def partitions(place: PostgresPlace, table: str) -> dict[str, int]:
    sql = f"SELECT tableoid::regclass::text AS name, count(*) AS rows FROM marketpulse.{table} GROUP BY 1"
    return {row["name"].removeprefix("marketpulse."): row["rows"] for row in place.found(sql)}


def test_rows_lie_in_the_partition_of_their_time_or_wait_in_the_default(place: PostgresPlace, opened: Open) -> None:
    feed = Feed(opened(MONDAY_S + 2 * DAY_S))
    times = [MONDAY_S - 1, MONDAY_S, MONDAY_S + 7 * DAY_S - 1e-6, MONDAY_S + 7 * DAY_S, 86_400.0]
    feed.store("trades", *(trade("A", at, 1.0, n) for n, at in enumerate(times)))
    weeks = {"trades_p20240429": 1, "trades_p20240506": 2, "trades_p20240513": 1}
    assert partitions(place, "trades") == {**weeks, "trades_default": 1}
    children = "pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'marketpulse.trades'::regclass"
    assert place.sql(f"SELECT c.relname FROM {children} ORDER BY 1") == ["trades_default", *weeks, "trades_p20240520"]
    later = [MONDAY_S + n * DAY_S for n in (60, 200)]
    feed.store("trades", *(trade("A", at, 1.0, n) for n, at in enumerate(later, 5)))
    assert partitions(place, "trades") == {**weeks, "trades_default": 3}
    feed.go_on(opened(later[0]))
    feed.store("trades", trade("A", later[0], 2.0, 7))
    assert partitions(place, "trades") == {**weeks, "trades_default": 2, "trades_p20240701": 2}


def test_a_long_query_holds_no_row_back(place: PostgresPlace, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_upkeep, "_LOCK_S", 0.2)
    feed = Feed(opened(MONDAY_S))
    feed.store("trades", trade("A", MONDAY_S, 1.0, 0))
    feed.go_on(opened(MONDAY_S + 35 * DAY_S))
    query = "BEGIN; SELECT count(*) FROM marketpulse.trades; SELECT pg_sleep(3)"
    reader = threading.Thread(target=place.sql, args=(query,))
    reader.start()
    holds = "SELECT count(*) FROM pg_locks WHERE relation = 'marketpulse.trades_default'::regclass AND mode = 'AccessShareLock'"
    wait_until(lambda: place.sql(holds) != ["0"])
    feed.store("trades", trade("A", MONDAY_S + 35 * DAY_S, 1.0, 1))
    assert partitions(place, "trades")["trades_default"] == 1
    reader.join()
    feed.go_on(opened(MONDAY_S + 35 * DAY_S))
    feed.store("trades", trade("A", MONDAY_S + 35 * DAY_S, 1.0, 2))
    assert partitions(place, "trades")["trades_p20240610"] == 2


def test_another_length_of_partitions_goes_beside_those_that_are_there(place: PostgresPlace, opened: Open) -> None:
    feed = Feed(opened(MONDAY_S))
    feed.store("trades", trade("A", MONDAY_S, 1.0, 0))
    feed.go_on(opened(MONDAY_S + 14 * DAY_S, partition="day"))
    feed.store("trades", *(trade("A", MONDAY_S + n * DAY_S, 1.0, n) for n in (1, 20, 21)))
    assert partitions(place, "trades") == {"trades_p20240506": 2, "trades_p20240520": 1, "trades_default": 1}
    feed.go_on(opened(MONDAY_S + 21 * DAY_S, partition="day"))
    feed.store("trades", *(trade("A", MONDAY_S + n * DAY_S, 1.0, n) for n in (22, 23)))
    found = {name[-5:]: rows for name, rows in partitions(place, "trades").items()}
    assert found == {"40506": 2, "40520": 1, "40527": 1, "40528": 1, "40529": 1}


def test_what_is_older_than_the_retention_is_dropped(place: PostgresPlace, opened: Open) -> None:
    feed = Feed(opened(MONDAY_S))
    for name in ("trade", "quote"):
        feed.store(f"{name}s", *(trade("A", MONDAY_S - n * DAY_S, 1.0, n, type=name) for n in (0, 20, 300, 4_000)))
    feed.store("events", *(trade("A", MONDAY_S - n * DAY_S, 1.0, n, type="halt", body="{}") for n in (0, 4)))
    feed.go_on(opened(MONDAY_S, retention_days={"trades": 10, "events": 3}))
    feed.store("bars", bar("A", "1m", MONDAY_S, 60, "1 1 1 1 1"))
    assert [sum(partitions(place, table).values()) for table in ("trades", "quotes", "events")] == [1, 4, 1]
    there = "SELECT count(*) FROM pg_class WHERE relname IN ('trades_p20230710', 'quotes_p20230710') AND relkind = 'r'"
    assert place.sql(there) == ["1"]


def test_what_is_missing_is_told_with_the_statement_to_run(place: PostgresPlace, opened: Open) -> None:
    server = place.server
    missing = 'CREATE DATABASE "nothing_here" OWNER "marketpulse";'
    wrong = (server.url(place.database, "nobody_there"), "password authentication failed")
    for url, told in ((server.url("nothing_here"), missing), wrong):
        with pytest.raises(Fatal) as caught:
            opened(url=url).resume()
        said = str(caught.value)
        assert (told in said, "nothing is lost" in said, PASSWORD in said) == (True, True, False), said
    assert_raises(Fatal, "MARKETPULSE_SINKS__POSTGRES__PASSWORD", opened(password=None).resume)
    place.sql(f"ALTER DATABASE {place.database} OWNER TO postgres")
    assert_raises(Fatal, f'GRANT CREATE, TEMPORARY ON DATABASE "{place.database}" TO "marketpulse";', opened().resume)
    place.sql(f"GRANT CREATE, TEMPORARY ON DATABASE {place.database} TO {USER}")
    store(opened(), end=10, cut=10)
    place.sql(f"CREATE DATABASE {place.database}_latin OWNER {USER} ENCODING 'LATIN1' TEMPLATE template0")
    assert_raises(Fatal, "ENCODING 'UTF8'", opened(url=place.server.url(f"{place.database}_latin")).resume)


def test_a_full_disk_is_waited_for(place: PostgresPlace, opened: Open) -> None:
    sink = opened()
    store(sink, end=10, cut=10)
    place.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON marketpulse.bars FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    sink.write(batch("bars", 0, 10, 20))
    sink.write(batch("trades", 0, 10, 20))
    assert_raises(Retryable, "free some space there; nothing is lost", sink.flush)
    assert place.sql('SELECT count(*) FROM marketpulse.trades WHERE "offset" >= 10') == ["0"]
    place.sql("DROP TRIGGER full_disk ON marketpulse.bars")
    sink.flush()
    assert place.sql("SELECT count(*) FROM marketpulse.bars WHERE receipt_first_offset >= 10") == ["8"]


def test_a_statement_that_waits_too_long_is_given_up_and_tried_again(place: PostgresPlace, opened: Open) -> None:
    sink = opened(timeout_s=1)
    store(sink, end=10, cut=10)
    holder = threading.Thread(target=place.sql, args=("BEGIN; LOCK TABLE marketpulse.bars; SELECT pg_sleep(4)",))
    holder.start()
    locks = "SELECT count(*) FROM pg_locks WHERE relation = 'marketpulse.bars'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    wait_until(lambda: place.sql(locks) != ["0"])
    sink.write(batch("bars", 0, 10, 20))
    assert_raises(Retryable, "nothing is lost", sink.flush)
    holder.join()
    sink.flush()
    assert place.sql("SELECT count(*) FROM marketpulse.bars WHERE receipt_first_offset >= 10") == ["8"]


def test_a_server_that_hangs_is_noticed(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_client, "_GRACE_S", 0.5)
    server = PostgresServer()
    place = PostgresPlace(server)
    try:
        sink = opened(url=place.section()["url"], timeout_s=1)
        store(sink, end=10, cut=10)
        sink.write(batch("bars", 0, 10, 20))
        server.freeze()
        assert_raises(Retryable, r"has not answered for 1.5 s: trying again, nothing is lost", sink.flush)
        server.thaw()
        sink.flush()
        assert place.sql("SELECT count(*) FROM marketpulse.bars WHERE receipt_first_offset >= 10") == ["8"]
        sink.close()
    finally:
        server.close()


def test_a_connection_that_is_cut_while_rows_are_stored_doubles_nothing(place: PostgresPlace, opened: Open) -> None:
    sink, stop = opened(), threading.Event()
    ours = "application_name = 'marketpulse' AND datname = current_database()"

    def cut() -> None:
        while not stop.wait(0.03):
            place.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")

    cutter = threading.Thread(target=cut)
    cutter.start()
    faults = end = 0
    try:
        while end < 200:
            try:
                store(sink, end=end + 20, cut=20)
                end += 20
            except Retryable:
                faults += 1
                if faults == 12:
                    stop.set()  # on a slow machine nothing would ever get through
    finally:
        stop.set()
        cutter.join()
    assert faults
    for table in ("trades", "bars"):
        assert as_lines(place.rows(table)) == as_lines(known(table, 200))
