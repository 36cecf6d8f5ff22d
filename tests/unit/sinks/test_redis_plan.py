"""What a partition's rows ask of Redis and change in it; the server's side is tried in integration/test_redis.py."""

import json
from typing import Any

import orjson
import pyarrow as pa

from market_rows import at
from marketpulse.model.redis_keys import RedisKeys
from marketpulse.model.tables import TABLES
from marketpulse.ports import SinkBatch
from marketpulse.settings import RedisSettings
from marketpulse.sinks.redis_plan import ALERT_CHANGES, SPARE, PartitionPlan, asked

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


def test_of_a_symbols_trades_the_newest_by_time_then_by_place_is_told() -> None:
    found = plan(trades=[trade("A", 5, 1.5, 7), trade("A", 5, 2.5, 8), trade("A", 4, 9.0, 9), trade("B", 1, 3.0, 10)])
    assert found.questions() == []
    newest = {o[1]: o for o in operations(found, [])}
    assert set(newest) == {"mp:price:A", "mp:price:B"}
    kind, _, channel, time_ns, offset, row, text, missing, pairs = newest["mp:price:A"]
    assert (kind, channel, time_ns, offset, row) == ("newest", "mp:updates:prices", str(at(5)), "8", "0")
    assert json.loads(text)["price"] == 2.5
    assert "venue" in missing
    assert dict(zip(pairs[::2], pairs[1::2], strict=True))["price"] == "2.5"


def test_a_series_gets_the_last_revision_of_each_bar_and_no_more_than_are_kept() -> None:
    kept = SETTINGS.recent_bars + SPARE
    rows = [bar(n, 10.0 + n) for n in range(kept + 5)]
    found = plan(bars=[*rows, bar(6, 99.0, revision=1)])
    assert found.questions() == [("HGETALL", "mp:sessions:A")]  # nothing was withdrawn: no row is asked for
    (series,) = of_kind(operations(found, [{}]), "series")
    assert (series[1], series[4]) == ("mp:recent:bars:A:1m", str(kept))
    texts = [json.loads(text) for text in series[7]]
    assert [row["open_time_ns"] for row in texts] == [at(60 * n) for n in range(5, kept + 5)]
    assert [(r["close"], r["revision"]) for r in texts if r["open_time_ns"] == at(360)] == [(99.0, 1)]
    assert series[6] == [repr(at(60 * n) / 1e6) for n in range(5, kept + 5)]


def test_where_the_newest_bar_is_withdrawn_the_one_before_it_is_the_latest() -> None:
    found = plan(bars=[bar(3, None, revision=1)])
    assert found.questions()[0] == ("ZREVRANGE", "mp:recent:bars:A:1m", 0, 1, "WITHSCORES")
    before = orjson.dumps({"close": 12.0}).decode()
    held = ["the withdrawn one", repr(at(180) / 1e6), before, repr(at(120) / 1e6)]
    (series,) = of_kind(operations(found, [held, {}]), "series")
    assert series[8] == ["1"]
    assert series[-1] == ["close", "12.0"]


def test_a_days_figures_follow_from_its_bars_those_in_the_store_among_them() -> None:
    first = operations(plan(bars=[bar(0, 10.0), bar(1, 12.0)]), [{}])
    stored = next(o for o in first if o[:2] == ["put", "mp:sessions:A"])
    assert stored[3][0] == DAY
    parts = next(o for o in first if o[:2] == ["put", f"mp:parts:A:{DAY}"])
    again = plan(bars=[bar(0, 11.0, revision=1)])
    answers = [dict(zip(stored[3][::2], stored[3][1::2], strict=True))]
    assert again.more_questions(answers) == [("HGETALL", f"mp:parts:A:{DAY}")]
    done = orjson.loads(again.operations([dict(zip(parts[3][::2], parts[3][1::2], strict=True))]))
    day = json.loads(next(o for o in done if o[:2] == ["put", "mp:sessions:A"])[3][1])
    assert (day["open"], day["high"], day["low"], day["close"], day["volume"]) == (11.0, 12.0, 11.0, 12.0, 4.0)


def test_a_days_own_bar_takes_the_place_of_its_parts() -> None:
    done = operations(plan(bars=[bar(0, 10.0), bar(0, 20.0, timeframe="1d")]), [{}])
    assert ["call", "DEL", f"mp:parts:A:{DAY}"] in done
    day = json.loads(next(o for o in done if o[:2] == ["put", "mp:sessions:A"])[3][1])
    assert day["close"] == 20.0


def test_of_an_alerts_changes_the_last_of_each_time_count_and_withdrawn_ones_are_marked() -> None:
    some = [alert(n, "raised") for n in range(ALERT_CHANGES + 3)]
    (told,) = operations(plan(alerts=[*some, alert(4, "withdrawn", revision=1)]), [])
    assert told[:6] == [
        "alert",
        "mp:recent:alerts:A:high",
        "mp:alerts",
        "mp:updates:alerts",
        "A high",
        str(ALERT_CHANGES),
    ]
    assert told[6] == [repr(at(60 * n) / 1e6) for n in range(3, ALERT_CHANGES + 3)]
    assert [place for place, mark in enumerate(told[8]) if mark] == [1]


def test_without_rows_nothing_is_asked_and_nothing_done() -> None:
    empty = plan(trades=[], bars=[], alerts=[])
    assert asked([empty.questions(), [("HGETALL", "k")]]) == [("HGETALL", "k")]
    assert operations(empty, []) == []
