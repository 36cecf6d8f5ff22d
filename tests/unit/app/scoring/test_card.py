"""The scorecard, from what its keeper hears and counts to the lines that a person reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from market_rows import MIDNIGHT_NS, Row, at, bar, clock, goodbye, heartbeat, hello, quote, trade
from marketpulse.app.observing.readings import parse
from marketpulse.app.scoring import watch as watching
from marketpulse.app.scoring.card import Card
from marketpulse.app.scoring.coverage import open_minutes, share, strip_text
from marketpulse.app.scoring.disagreement import instrument_of, percentiles
from marketpulse.app.scoring.gaps import GAPS_MAX, GapLedger
from marketpulse.app.scoring.hearing import calendar_finder
from marketpulse.app.scoring.hearing import hours_of as configured_hours
from marketpulse.app.scoring.keeper import ScoreKeeper
from marketpulse.app.scoring.processes import kinds_of, with_processes
from marketpulse.app.scoring.ring import Ring
from marketpulse.app.scoring.series import MINUTE_NS, Heard, SeriesKey, SeriesTable
from marketpulse.app.scoring.stream import BUCKETS, SLOT_NS, RareCounts, Stream, lag_at
from marketpulse.app.scoring.text import duration, percent, table
from marketpulse.app.scoring.watch import ScoreWatch
from marketpulse.clock import SystemClock
from marketpulse.model.market import ABSENT, StringTable
from marketpulse.model.session import SessionTable, around_the_clock
from marketpulse.settings import AnySource, CoinbaseSettings, EngineSettings, Settings, SimulateSettings
from marketpulse.telemetry import SCORECARD_ERRORS
from score_rows import card_of, hours_of, one, tell
from waiting import wait_until

HOUR = 3_600.0
Timed = tuple[Row, float]


def traded(symbol: str, seconds: float, source: str = "feed", log: float | None = None) -> Timed:
    """A trade, and when the log had it: when it happened, unless said."""
    return trade(symbol, seconds, 1.0, 1.0, source), seconds if log is None else log


def gap(state: str | None, trades: int | None = 3, ids: tuple[int, int] | None = (5, 7), **more: Any) -> Row:
    begin, end = (None, None) if ids is None else map(str, ids)
    told = {"state": state, "trades": trades, "from_id": begin, "to_id": end, **more}
    record: Row = {"type": "gap", "symbol": "AAA", "source": "feed", "event_time_ns": 0, "from_ns": 1, "to_ns": 2}
    return {**record, "reason": "lost", **{name: value for name, value in told.items() if value is not None}}


def strips(card: Card, source: str = "feed") -> dict[str, str]:
    """Each symbol's minutes since its first."""
    return {row["symbol"]: row["minutes"].lstrip(".") for row in card.symbols(source, 10)["symbols"]}


@pytest.mark.parametrize(("behind", "state"), [
    ([], "live"), ([(heartbeat(HOUR + 99, log=HOUR + 100), HOUR + 100), (clock(HOUR + 110), HOUR + 110)], "live"),
    ([(clock(HOUR + 110), HOUR + 110), traded("BBB", HOUR + 110, "other")], "silent"),
    ([(goodbye(), HOUR + 1)], "ended"), ([(goodbye(), HOUR + 1), (hello(), HOUR + 2)], "live"),
])  # fmt: skip
def test_a_source_is_live_silent_or_has_ended(behind: list[Timed], state: str) -> None:
    assert one(card_of([traded("AAA", HOUR), *behind]), "feed")["state"] == state


def test_an_old_history_has_no_lag_a_row_far_ahead_no_minute_and_a_closed_bar_all_of_its_own() -> None:
    month = 30 * 86_400.0
    rows = [traded("AAA", HOUR, log=month), traded("AAA", HOUR + 119, log=month)]
    for told in ([], [(hello(mode="historical"), month)]):
        found = one(card_of([*told, *rows]), "feed")
        assert [found[n] for n in ("mode", "lag_p50_ms", "behind_ms", "coverage")] == ["historical", None, None, 1.0]
    card = card_of([traded("AAA", HOUR), traded("AAA", HOUR + 7_200, log=HOUR + 130)])
    assert strips(card) == {"AAA": "10"}
    assert one(card, "feed")["newest_event_ms"] * 10**6 == at(HOUR)
    five = bar("AAA", "5m", HOUR, HOUR + 300, (1.0, 1.0, 1.0, 1.0, 5.0))
    card = card_of([(five, HOUR + 302), traded("BBB", HOUR + 600)])
    assert strips(card)["AAA"] == "1" * 5 + "0" * 5
    assert one(card, "feed")["lag_p99_ms"] == pytest.approx(2_000, rel=0.06)


def test_a_gap_goes_from_found_to_healed_within_these_hours_and_rows_beyond_the_cap_are_the_sources() -> None:
    rows = [traded("AAA", HOUR), (gap("found"), HOUR)]
    assert one(card_of(rows), "feed")["gaps"]["found"] == {"gaps": 1, "trades": 3}
    healed = one(card_of([*rows, (gap("healed"), HOUR + 2), (gap("open", 9, (20, 28)), HOUR + 3)]), "feed")["gaps"]
    counts = {state: (told["gaps"], told["trades"]) for state, told in healed.items()}
    assert counts == {"found": (0, 0), "healed": (1, 3), "open": (1, 9)}
    late = one(card_of([(gap("open"), HOUR), traded("AAA", HOUR), traded("AAA", 4 * HOUR)]), "feed")
    assert (late["gaps"]["open"]["gaps"], late["rows"]["trade"]) == (0, 1)
    keeper = ScoreKeeper(1, 1)
    tell(keeper, [traded(name, HOUR) for name in ("AAA", "BBB", "BBB")])
    assert keeper.series.left_out_rows == 2
    found = one(Card(keeper, hours_of()), "feed")
    assert (found["symbols"], found["rows"]["trade"]) == (1, 3)


def test_of_sources_that_compete_what_is_chosen_counts_once_and_dead_letters_where_they_came_from() -> None:
    keeper = ScoreKeeper(1, 10)
    rows = [traded("AAA", HOUR + i) for i in range(3)]
    tell(keeper, [*rows, (gap("healed"), HOUR)], topic="feeds")
    quality = {"type": "quality", "symbol": "AAA", "source": "feed", "event_time_ns": 0, "rule": "stale"}
    tell(keeper, [(row, seconds + 50) for row, seconds in rows] + [(gap("healed"), HOUR + 50), (quality, HOUR + 50)])
    found = one(Card(keeper, hours_of()), "feed")
    assert (found["rows"]["trade"], found["symbols"], found["gaps"]["healed"]["gaps"]) == (3, 1, 1)
    assert found["lag_p99_ms"] < 2  # that of the feed, not of who chose it
    assert found["quality"] == {"stale": 1}

    def letter(source: str | None, reason: str = "bad_price") -> bytes:
        value = None if source is None else orjson.dumps({"type": "trade", "source": source}).decode()
        return orjson.dumps({"reason": reason, "value": value})

    keeper = ScoreKeeper(1, 10)
    tell(keeper, [traded("AAA", HOUR)])
    foreign = orjson.dumps({"reason": "x", "value": "[1]"})
    for value in (letter("feed"), letter("feed", "bad_size"), letter(None), foreign, b"no letter"):
        keeper.hear_letter(value, at(HOUR))
    card = Card(keeper, hours_of())
    assert one(card, "feed")["dead_letters"] == {"bad_price": 1, "bad_size": 1}
    assert card.unplaced_letters() == {"bad_price": 1, "x": 1}


def test_heartbeats_are_no_rows_a_source_agrees_with_itself_and_only_so_many_gaps_are_kept() -> None:
    card = card_of([(quote("AAA", HOUR, 1.0, 2.0), HOUR), (heartbeat(HOUR + 100, log=HOUR + 100), HOUR + 100)])
    found = one(card, "feed")
    assert (found["state"], found["rows"]) == ("live", {"trade": 0, "quote": 1, "bar": 0})
    assert card.symbols("other", 10) == {"from_ms": 0, "to_ms": 0, "symbols": [], "gaps": [], "disagreements": []}
    plain = trade("BTC-USD", HOUR + 6, 1.0, 1.0, venue=None), HOUR + 6
    again = trade("BTC-USD", HOUR + 60, 2.0, 1.0, venue=None), HOUR + 60
    card = card_of([plain, priced("feed", 0.2, 2.0, venue="X"), again])
    assert card.symbols("feed", 10)["disagreements"] == []
    assert one(card, "feed")["disagreement_p50_bps"] is None
    assert percentiles(np.empty(0)) == (None, None)
    ledger = GapLedger()
    for i in range(GAPS_MAX + 5):
        ledger.take(gap("found", ids=(i, i)), i)
    assert (len(ledger.since(0)), ledger.forgotten) == (GAPS_MAX, 5)
    assert len(ledger.since(GAPS_MAX)) == 5
    hours = configured_hours(Settings(kafka={"topic_prefix": "mine."}))
    table = hours.sessions_of("24x7")
    assert (hours.feeds_topic, table is not None and table.around_the_clock) == ("mine.feeds", True)


def test_a_minute_that_begins_in_a_session_is_open_and_a_symbol_counts_from_its_first_to_its_last_whole_one() -> None:
    opens, closes = np.array([10, 20]) * MINUTE_NS, np.array([13, 21]) * MINUTE_NS
    day = SessionTable("XTST", opens, closes, np.array([0, 1], np.int32))
    assert np.flatnonzero(open_minutes(day, 0, 30)).tolist() == [10, 11, 12, 20]
    for never_closes in (None, around_the_clock()):
        assert open_minutes(never_closes, 5, 8).tolist() == [True] * 3
    assert strip_text(np.array([True, True, False]), np.array([True, False, True])) == "1.0"
    assert share(np.array([True]), np.array([False])) is None, "there is nothing to count"
    quoted = quote("AAA", HOUR + 60, 1.0, 2.0), HOUR + 60
    card = card_of([traded("AAA", HOUR), quoted, traded("AAA", HOUR + 239, log=HOUR + 240), traded("BBB", HOUR + 245)])
    told = {row["symbol"]: row["coverage"] for row in card.symbols("feed", 10)["symbols"]}
    assert told == {"AAA": 3 / 4, "BBB": None}  # the first minute of BBB is not over
    assert strips(card)["AAA"] == "1101"
    assert one(card, "feed")["coverage"] == 3 / 4
    assert card.symbols("feed", 10)["to_ms"] * 10**6 == MIDNIGHT_NS + int(HOUR + 240) * 10**9


def priced(source: str, minute: float, price: float, coin: str = "BTC-USD", venue: str = "") -> Timed:
    seconds, name = HOUR + 60 * minute, venue or source.upper()
    return trade(f"{coin}.{name}", seconds, price, 1.0, source, venue=name), seconds


def test_the_last_prices_of_the_minutes_that_both_have_are_compared_from_either_side() -> None:
    card = card_of([
        priced("coinbase", 0.1, 90.0), priced("binance", 0.2, 50.0), priced("coinbase", 0.5, 100.5), priced("binance", 0.6, 99.5),
        priced("coinbase", 1.5, 10.0), priced("binance", 2.5, 100.0), priced("coinbase", 2.6, 100.0),
        priced("coinbase", 3.0, 100.0, "ETH-USD"),
    ])  # fmt: skip
    [apart] = card.symbols("coinbase", 10)["disagreements"]
    told = [apart[name] for name in ("instrument", "other_source", "other_symbol", "minutes")]
    assert told == ["BTC-USD", "binance", "BTC-USD.BINANCE", 2]
    assert [v for v in apart["line_bps"] if v is not None] == [100.0, 0.0]  # 1 of 100; 0
    assert apart["p50_bps"] == one(card, "coinbase")["disagreement_p50_bps"] == pytest.approx(50.0)
    [apart] = card.symbols("binance", 10)["disagreements"]
    assert [v for v in apart["line_bps"] if v is not None] == [-100.0, 0.0]
    for symbol, venue, instrument in (
        ("BTC-USD.COINBASE", "COINBASE", "BTC-USD"), ("BTC-USD", "COINBASE", "BTC-USD"), ("BRK.B", "XNYS", "BRK.B"),
        ("BRK.B", None, "BRK.B"),
    ):  # fmt: skip
        assert instrument_of(symbol, venue) == instrument, "the venue that a symbol carries is no part of it"


@pytest.mark.parametrize(("records", "states"), [
    pytest.param([gap("found")], [("found", 3)], id="found"),
    pytest.param([gap("found"), gap("healed")], [("healed", 3)], id="healed, it is one gap"),
    pytest.param([gap("found"), gap("open", 1), gap("open", 2)], [("open", 3)], id="parts given up are added"),
    pytest.param(
        [gap("found", None, None, to_ns=9), gap("healed", 12, None, to_ns=9, from_ns=4), gap("found", None, None, to_ns=30)],
        [("healed", 12), ("found", None)], id="a gap of time is known by its end",
    ),
    pytest.param([gap(None, None, None)], [("open", None)], id="an answer that does not reach back is open"),
])  # fmt: skip
def test_of_a_gap_the_ledger_says(records: Sequence[Row], states: list[tuple[str, int | None]]) -> None:
    ledger = GapLedger()
    for i, record in enumerate(records):
        ledger.take(record, 10 * (i + 1))
    assert [(one.state, one.trades) for one in ledger.since(0)] == states


@pytest.mark.parametrize(("venue", "of_source", "name"), [
    ("XNYS", "24x7", "XNYS"), ("COINBASE", None, "XLON"), ("COINBASE", "24x7", "24x7"), (None, "XNYS", "XNYS"),
    ("HOUSE", None, "XNYS"), (None, "NOWHERE", "XLON"), (None, None, "XLON"),
])  # fmt: skip
def test_the_venues_calendar_then_the_sources_then_ours(venue: str | None, of_source: str | None, name: str) -> None:
    engine = EngineSettings(calendar="XLON", venue_calendars={"HOUSE": "XNYS"})
    assert calendar_finder(engine)(venue, of_source) == name


def test_connections_requests_and_the_disk_come_from_the_process_and_of_one_elsewhere_nothing_is_known() -> None:
    samples = parse(
        'marketpulse_rows_produced_total{source="coinbase",type="trade"} 5\n'
        'marketpulse_stream_reconnects_total{source="coinbase",why="closed"} 2\n'
        'marketpulse_stream_reconnects_total{source="coinbase",why="silence"} 1\n'
        'marketpulse_spool_rows{source="coinbase"} 70\nmarketpulse_spool_age_seconds{source="coinbase"} 4.5\n'
        'marketpulse_rest_requests_total{source="av",end="good"} 4\n'
        'marketpulse_input_rejected_total{source="coinbase",reason="not_json"} 6\n'
        'marketpulse_rest_budget{source="av"} 25\nmarketpulse_rest_budget_left{source="av"} 18\n'
    )
    feed, asked = with_processes([{"source": "coinbase"}, {"source": "av"}], samples, {"av": "alpha_vantage"})
    assert (feed["kind"], feed["reconnects"], feed["rows_on_disk"], feed["on_disk_s"]) == ("coinbase", 3, 70, 4.5)
    assert (feed["rejected"], feed["requests"]) == ({"not_json": 6}, {"asked": 0, "today": None, "a_day": None})
    assert asked["requests"] == {"asked": 4, "today": 7, "a_day": 25}
    for heard in (None, samples):
        [found] = with_processes([{"source": "far"}], heard, {})
        assert (found["kind"], found["reconnects"], found["requests"], found["rows_on_disk"]) == (None,) * 4
    sources: dict[str, AnySource] = {"market": SimulateSettings(), "coinbase": CoinbaseSettings(symbols=("BTC-USD",))}
    assert kinds_of(sources) == {"simulate-market": "simulate", "coinbase": "coinbase"}, "as their rows name them"


def test_each_source_has_an_aligned_line_lengths_of_time_a_unit_and_only_all_is_a_hundred_percent() -> None:
    lengths = {None: "-", 0.4: "0 ms", 912.3: "912 ms", 4_200: "4.2 s", 90_000: "1.5 min", 7.2e6: "2 h"}
    assert {ms: duration(ms) for ms in lengths} == lengths
    shares = {None: "-", 1.0: "100 %", 0.9999: "99.9 %", 0.0: "0 %"}
    assert {share: percent(share) for share in shares} == shares
    rows = [traded("AAA", HOUR, name) for name in ("a", "another")]
    lines = table(with_processes(card_of([*rows, (gap("healed", source="a"), HOUR)]).sources(), None, {}))
    assert len(lines) == 3
    assert lines[1].startswith("a        ")
    assert "3: 3 healed" in lines[1]
    assert {line[lines[0].index("state") :][:4] for line in lines[1:]} == {"live"}


def test_before_the_log_is_read_nothing_is_known_but_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketpulse.app.warm.load", lambda *_: True)
    monkeypatch.setattr(watching, "_FAILED_S", 0.05)
    before = SCORECARD_ERRORS._value.get()
    watch = ScoreWatch(Settings(data_dir=tmp_path), SystemClock(), lambda: None)
    assert (watch.sources(), watch.symbols("feed", 5)) == (None, None)
    watch.start()
    wait_until(lambda: SCORECARD_ERRORS._value.get() >= before + 2, "the second fault")
    assert watch.sources() is None
    watch.close()
    assert not watch._thread.is_alive()


def place(table: SeriesTable, symbol: str, venue: str | None = None, strings: StringTable | None = None) -> int:
    names = strings or StringTable()
    ids = np.array([names.intern(symbol)], np.int32)
    venues = np.array([ABSENT if venue is None else names.intern(venue)], np.int32)
    return int(table.places("market", names.intern("feed"), ids, venues, names)[0])


def trades(*told: tuple[int, float, float]) -> Heard:
    """(series, minute, price)."""
    series, minutes, prices = (np.array(column) for column in zip(*told, strict=True))
    at_ns = (minutes * MINUTE_NS).astype(np.int64)
    minute = at_ns // MINUTE_NS
    return Heard(series.astype(np.int64), minute, minute, prices.astype(np.float64), at_ns)


def table_of(minutes: int, series_max: int = 5) -> SeriesTable:
    """With one symbol in it."""
    place(table := SeriesTable(minutes, series_max), "AAA")
    return table


def test_a_symbol_keeps_its_place_up_to_the_cap_its_first_venue_and_what_it_has_as_tables_grow() -> None:
    table = SeriesTable(10, 5)
    first = place(table, "AAA")
    other = StringTable(["something", "else"])
    assert place(table, "BBB", strings=other) != first
    assert place(table, "AAA", strings=other) == first
    assert table.keys[first] == SeriesKey("market", "feed", "AAA")
    small = SeriesTable(10, 2)
    assert [place(small, name) for name in ("A", "B", "C", "A")] == [0, 1, -1, 0]
    table = table_of(10, 1_000)
    table.take(trades((0, 5, 12.5)))
    assert [place(table, f"S{i}") for i in range(1, 200)] == list(range(1, 200))
    assert (table.covered[0].tolist(), table.price[0, 5]) == ([m == 5 for m in range(10)], 12.5)
    assert not table.covered[1:].any()
    table, names = SeriesTable(10, 5), StringTable()
    for venue in (None, "XNYS", "XNAS"):
        place(table, "AAA", venue, names)
    assert table.venues == ["XNYS"]


def test_minutes_and_slots_that_the_ring_moved_over_are_empty_and_the_newest_event_has_the_last_price() -> None:
    table = table_of(4)
    table.take(trades((0, 1, 1.0), (0, 2, 2.0), (0, 3, 3.0)))
    table.take(trades((0, 6, 6.0), (0, 1, 9.0)))  # 1 is too old, 4 and 5 had nothing
    assert table.covered[0].tolist() == [False, False, True, True]  # minutes 4, 5, 6, 3
    assert table.price[0, [2, 3]].tolist() == [6.0, 3.0]
    assert (table.first[0], table.head[0], table.rows[0]) == (1, 6, 5)
    table = table_of(4)
    table.take(trades((0, 2.9, 10.0)))
    table.take(trades((0, 2.5, 11.0), (0, 2.95, 12.0), (0, 2.1, 13.0)))
    assert table.price[0, 2] == 12.0
    table.take(trades((0, 2.95, 14.0)))  # of one time, the last in the log
    assert table.price[0, 2] == 14.0
    ring = Ring(3, 2)
    assert ring.between(0, 10).tolist() == [0, 0]
    ring.add(np.array([5, 5, 6]), np.array([0, 1, 1]))
    assert [ring.between(5, 7).tolist(), ring.between(6, 9).tolist()] == [[1, 2], [0, 1]]
    ring.add(np.array([8, 5]), np.array([0, 0]))  # 5 is too old now
    assert ring.between(0, 100).tolist() == [1, 1]
    counts = RareCounts(2)
    for name, slot in (("stale", 5), ("stale", 6), ("split", 6)):
        counts.add(name, slot * SLOT_NS + 1)
    assert counts.since(0) == {"stale": 2, "split": 1}
    counts.add("stale", 7 * SLOT_NS)
    assert (counts.since(0), counts.since(7)) == ({"stale": 2, "split": 1}, {"stale": 1})


@pytest.mark.parametrize(("lag_ms", "share", "told_ms"), [
    (1.5, 0.99, 1.5), (40.0, 0.99, 40.0), (900.0, 0.99, 900.0), (6e4, 0.99, 6e4), (3.6e6, 0.99, 3.6e6),
    pytest.param(-5_000, 0.5, 1.05, id="a clock that runs ahead has no delay below a millisecond"),
])  # fmt: skip
def test_a_delay_is_told_to_a_twentieth(lag_ms: float, share: float, told_ms: float) -> None:
    stream, now = Stream(7), 1_000 * SLOT_NS
    stream.take(np.zeros(3, np.int64), np.full(3, now - int(lag_ms * 1e6)), np.full(3, now))
    assert lag_at(stream.lags.between(0, 2_000), share) == pytest.approx(told_ms, rel=0.05)
    assert lag_at(np.zeros(BUCKETS, np.int64), 0.5) is None, "nobody knows a delay without rows"
