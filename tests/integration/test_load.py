"""`load`: history from files, held against the same rows through the real broker, and what goes on behind it."""

import json
import os
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

import market_rows
from bare_clients import BareTopic
from forked import Forked
from given_settings import changed, outside
from log_of_rows import as_text
from market_rows import at
from marketpulse.app.loading.load import Request, Summary, load
from marketpulse.app.lock import worker_slot
from marketpulse.app.pipeline import produce
from marketpulse.errors import Fatal
from marketpulse.kafka.partitioner import partitions_of
from marketpulse.kafka.seat import Seat
from marketpulse.query.stored_rows import ALWAYS, StoredRows, Wanted
from marketpulse.settings import ReplaySettings, Settings
from refused import assert_raises
from stored_pipeline import Pipeline, Working, lines, load_in_small_steps, wait_until_taken
from vendor_server import Reply, vendor
from waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.usefixtures("kernels")]

COMPUTED = ("bars", "indicators", "alerts")
Row = dict[str, Any]


ENGINE = {
    "timeframes": ("3t", "1s", "1m", "1d"), "indicators": "sma(3),ema(4),rsi(2),vwap,spread", "correction_window_s": 30,
    "alerts": ({"name": "high", "expression": "close > 17.5", "timeframe": "1s"},),
}  # fmt: skip


@pytest.fixture
def settings(kafka_settings: Settings) -> Settings:
    return changed(kafka_settings, engine=ENGINE, sinks={"lake": {"flush_s": 0.2}})


def elsewhere(settings: Settings, name: str) -> Settings:
    """The same with a lake of its own."""
    return changed(settings, data_dir=settings.data_dir / name)


def loaded(settings: Settings, file: Path | str, **more: Any) -> Summary:
    return load(settings, Request([str(file)], **more))


SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")
_NAMES = [f"S{n}" for n in range(40)]
IN_FIRST = [s for s, p in zip(_NAMES, partitions_of([s.encode() for s in _NAMES], 4), strict=True) if p == 0]


def mixed_rows(seconds: int, symbols: tuple[str, ...] = SYMBOLS) -> list[Row]:
    """Trades and quotes, some out of order, some twice, some at the same time."""
    chance = Random(5)
    rows: list[Row] = []
    for n in range(seconds * 4):
        time_ns, symbol = at(n * 0.25 + chance.choice((0, 0, 0.125))), chance.choice(symbols)
        head = {"timestamp": time_ns, "symbol": symbol}
        price = round(10 + 10 * chance.random(), 2)
        if chance.random() < 0.3:
            rows.append({**head, "bid": price - 0.01, "bid_size": 3.0, "ask": price + 0.01, "ask_size": 4.0})
        else:
            rows.append({**head, "price": price, "size": float(chance.randint(0, 9)), "trade_id": f"t{n}"})
            if chance.random() < 0.05:
                rows.append(rows[-1])
    chance.shuffle(rows)
    return rows


def write_lines(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def stored(settings: Settings, table: str) -> list[Row]:
    return [
        {k: v for k, v in row.items() if k != "file_shape"}
        for row in StoredRows(settings).table(table, Wanted(*ALWAYS)).rows.to_pylist()
    ]


def without_place(rows: list[Row], *others: str) -> list[str]:
    left_out = {"receipt", "topic", "offset", "row", "ingest_time_ns", *others}
    found = [{k: v for k, v in row.items() if k not in left_out} for row in rows]
    for row in found:
        if row.get("timeframe") == "3t":
            row.pop("spread", None)  # of the log's last quote, and a replay writes quotes before trades near them
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in found)


def through_the_log(settings: Settings, files: list[Path], source: str) -> None:
    """The files by a replay, the engine and the sink."""
    replayed = ReplaySettings(files=tuple(map(str, files)), speed="max")
    with Pipeline(settings).running():
        assert produce.run(settings, Working.life_of(settings, "p"), replayed, source) == 0
        wait_until_taken(settings)


@pytest.mark.parametrize("kind", ["mixed", "bars", "trades of each symbol in a file of its own"])
def test_a_loaded_file_is_to_the_bit_what_the_pipeline_stores(settings: Settings, tmp_path: Path, kind: str) -> None:
    if kind == "mixed":
        files = [write_lines(tmp_path / "mixed.jsonl", mixed_rows(200))]
    elif kind == "bars":
        bars = [
            {"date": f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}", "symbol": s, "open": 10 + n % 7, "high": 20 + n % 5,
             "low": 9, "close": 12 + n % 6, "volume": n, "dividends": 0.5 if n == 9 else 0}
            for n in range(60) for s in SYMBOLS
        ]  # fmt: skip
        files = [write_lines(tmp_path / "bars.jsonl", bars)]
    else:
        files = [
            write_lines(tmp_path / f"{s}.jsonl", [r for r in mixed_rows(200, (s,)) if "price" in r]) for s in SYMBOLS
        ]
    there, here = elsewhere(settings, "there"), elsewhere(settings, "here")
    through_the_log(there, files, "replay-history")
    found = load(here, Request([str(f) for f in files], source="replay-history", complete=True, lake_only=True))
    assert found.forming <= (len(SYMBOLS) if kind != "bars" else 0), "only bars cut by count are open"
    for table in ("trades", "quotes", *COMPUTED):
        expected = without_place(stored(there, table))
        assert without_place(stored(here, table)) == expected, table
        assert expected or kind == "bars" or table == "quotes"
    own, through = (
        [r for r in stored(place, "events") if r["type"] not in ("hello", "goodbye", "clock")] for place in (here, there)
    )  # fmt: skip
    assert without_place(own, "body") == without_place(through, "body")
    assert without_place(marked(own)) == without_place(marked(through))
    assert kind != "bars" or marked(own)


def marked(events: list[Row]) -> list[Row]:
    """What the rules of data quality say of rows."""
    return [json.loads(str(row["body"])) for row in events if row["type"] == "quality"]


def test_loaded_rows_name_file_and_line(settings: Settings, tmp_path: Path) -> None:
    rows = mixed_rows(60)
    found = loaded(settings, write_lines(tmp_path / "mixed.jsonl", rows), lake_only=True, complete=True)
    assert found.topic.startswith("file:mixed.jsonl@")
    for row in stored(settings, "trades"):
        line = rows[row["offset"] - 1]
        assert (row["topic"], row["price"], row["symbol"]) == (found.topic, line["price"], line["symbol"])
    taken = {r["offset"]: r for r in stored(settings, "trades")}
    for bar in stored(settings, "bars"):
        receipt = bar["receipt"]
        assert receipt["topic"] == found.topic
        first, last = taken[receipt["first_offset"]], taken[receipt["last_offset"]]
        assert {first["symbol"], last["symbol"]} == {bar["symbol"]}
        assert first["partition"] == receipt["partition"]
        if bar["timeframe"] != "3t":
            assert bar["open_time_ns"] <= first["event_time_ns"] < bar["close_time_ns"]


def newest(rows: list[Row]) -> list[Row]:
    """The rows as readers see them: of each the last revision, without those that were withdrawn."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in ("symbol", "timeframe", "rule", "open_time_ns"))

    last = {key(row): row["revision"] for row in sorted(rows, key=lambda row: int(row["revision"]))}
    return [
        r
        for r in rows
        if r["revision"] == last[key(r)] and r.get("close", 0) is not None and r.get("state") != "withdrawn"
    ]


trade = partial(market_rows.trade, source="live")


def hello(source: str) -> Row:
    return {"type": "hello", "source": source, "mode": "historical", "run_id": "1", "event_time_ns": at(0), "lateness_ns": 2_000_000_000}  # fmt: skip


def heartbeat(seconds: float) -> Row:
    return {"type": "heartbeat", "source": "live", "event_time_ns": at(seconds)}


def history() -> list[Row]:
    return [
        {"timestamp": at(n * 0.4), "symbol": IN_FIRST[0], "price": 10 + n % 9, "size": 1.0 + n % 3, "trade_id": f"h{n}"}
        for n in range(400)
    ]  # fmt: skip


def live(begin: float) -> list[Row]:
    ticks = [trade(IN_FIRST[0], begin + n * 0.4, 11 + n % 8, 2.0, trade_id=f"l{n}") for n in range(300)]
    return [hello("live"), *ticks, heartbeat(begin + 200)]


def test_history_and_live_meet_without_a_seam(settings: Settings, tmp_path: Path) -> None:
    before, after = history(), live(160.0)
    there = settings
    as_records = [
        trade(r["symbol"], 0, r["price"], r["size"], trade_id=r["trade_id"]) | {"event_time_ns": r["timestamp"], "source": "old"}
        for r in before
    ]  # fmt: skip
    goodbye = {"type": "goodbye", "source": "old", "event_time_ns": at(0)}
    Pipeline(there).run([hello("old"), *as_records, goodbye, *after])
    whole = {table: stored(there, table) for table in COMPUTED}

    here = changed(elsewhere(there, "here"), kafka={"topic_prefix": there.kafka.topic_prefix + "b"})
    parts = {"middle": before[150:280], "before": before[:160], "nightly": before[270:]}  # made anew, then gone on with
    for name, rows in parts.items():
        found = loaded(here, path := write_lines(tmp_path / f"{name}.jsonl", rows), source="old")
        assert (found.handed_over, found.stored["trades"]) == (True, {"middle": 130, "before": 150}.get(name, 120))
        assert found.forming
    pipeline = Pipeline(here)
    pipeline.run(after)
    for table in COMPUTED:
        assert without_place(newest(stored(here, table)), "revision") == without_place(
            newest(whole[table]), "revision"
        ), table
    market = here.topic("market")
    seam = [b for b in stored(here, "bars") if b["receipt"]["topic"] == market and b["receipt"]["first_offset"] is None]
    assert {b["timeframe"] for b in seam} >= {"1m"}, "the bar at the file's end was completed by live trades"
    assert any(b["receipt"]["last_offset"] is not None for b in seam)
    pipeline.json("verify")
    explained = pipeline.marketpulse("explain", IN_FIRST[0], "1m", "2026-01-01T00:02:00Z")
    assert explained.returncode == 0, explained.stdout + explained.stderr
    assert "loaded from" in explained.stdout, explained.stdout
    assert loaded(here, path, source="old").outcome == "nothing"
    with pipeline.running():  # what comes too late for the window is healed in the midst of loaded history
        pipeline.write(trade(IN_FIRST[0], 20.1, 50, 1.0, trade_id="late"), heartbeat(400))
        pipeline.wait_until_taken()
        pipeline.wait_until_stored()
        (done,) = pipeline.json("heal")
        assert (done["outcome"], done["detail"]) == ("healed", "")
        pipeline.write(heartbeat(401))
        pipeline.wait_until_taken()
    (healed,) = (b for b in newest(stored(here, "bars")) if (b["timeframe"], b["open_time_ns"]) == ("1s", at(20)))
    (before_it,) = (b for b in newest(whole["bars"]) if (b["timeframe"], b["open_time_ns"]) == ("1s", at(20)))
    assert (healed["high"], healed["trade_count"]) == (50, before_it["trade_count"] + 1)
    pipeline.json("verify")


def test_loads_without_the_broker_killed_ones_and_files_behind_live_rows_are_one_history(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = history(), elsewhere(settings, "there")
    cuts = ((0, 100), (90, 200), (200, 300), (290, 400))
    files = [write_lines(tmp_path / f"{a}.jsonl", before[a:b]) for a, b in cuts]
    load(there, Request([*map(str, files)], source="old", lake_only=True))
    assert loaded(settings, files[0], source="old").handed_over
    assert not loaded(settings, files[1], source="old", lake_only=True).handed_over
    assert loaded(settings, files[2], source="old").handed_over, "the state is made anew: it lacks the second file"
    with monkeypatch.context() as patched:
        patched.setattr(Seat, "hand_over", Seat.__init__)  # which raises: the process is gone before the hand-over
        assert_raises(TypeError, "", loaded, settings, files[3], source="old")
    with worker_slot(settings.data_dir, "process-0"):
        assert_raises(Fatal, f"process {os.getpid()} works as process-0", loaded, settings, files[3], source="old")
    assert loaded(settings, files[3], source="old").outcome == "handed over"
    for table in COMPUTED:
        mine, expected = newest(stored(settings, table)), newest(stored(there, table))
        assert without_place(mine, "revision") == without_place(expected, "revision"), table
    pipeline = Pipeline(settings)
    pipeline.run(live(160.0))
    later = [{**r, "timestamp": r["timestamp"] + at(400) - at(0), "trade_id": f"z{r['trade_id']}"} for r in before]
    found = loaded(settings, write_lines(tmp_path / "later.jsonl", later), source="old")
    assert (found.handed_over, found.stored["trades"]) == (True, 400)
    pipeline.run([trade(IN_FIRST[0], 570 + n, 30 + n, 1, trade_id=f"e{n}") for n in range(5)] + [heartbeat(900)])
    pipeline.json("verify")
    for lake, table in ((pipeline, "bars"), (pipeline, "indicators"), (Pipeline(there), "bars")):
        for count, told in ((0, "missing"), (2, "extra")):
            with lake.rewritten(table, lambda rows, count=count: pa.concat_tables(  # type: ignore[misc]
                [rows.slice(0, 40), *[rows.slice(40, 1)] * count, rows.slice(41)]
            )) as good:  # fmt: skip
                found = lake.json("verify", code=1)
            assert found["tables"][table][told] == found["drift_rows"] == 1, (table, told)
            assert found["differences"][0]["open_time_ns"] == good["open_time_ns"][40].as_py()


def test_symbols_that_the_pipeline_does_not_know_are_put_beside_those_it_does_once_no_engine_works(
    settings: Settings, tmp_path: Path
) -> None:
    mine, pipeline = IN_FIRST[1], Pipeline(settings)
    known = write_lines(tmp_path / "known.jsonl", history())
    pipeline.write(*live(0.0))
    with pipeline.running():
        pipeline.wait_until_taken()
        assert_raises(Fatal, "running", loaded, settings, known)
    assert loaded(
        settings, write_lines(tmp_path / "more.jsonl", [{**r, "symbol": mine} for r in history()])
    ).handed_over
    assert_raises(Fatal, "live rows beside S0", loaded, settings, known)
    pipeline.run([trade(mine, 201 + n, 30 + n, 1) for n in range(5)] + [heartbeat(400)])
    bars = [r for r in stored(settings, "indicators") if r["symbol"] == mine and r["timeframe"] == "1s"]
    live_ones = [r for r in bars if r["receipt"]["topic"] == settings.topic("market")]
    assert len(live_ones) >= 5
    assert all(r["sma_3"] is not None for r in live_ones)
    pipeline.json("verify")


def test_rows_from_the_first_live_one_on_are_left_out(settings: Settings, tmp_path: Path) -> None:
    BareTopic.of(settings).write(live(100.0))
    assert loaded(settings, write_lines(tmp_path / "before.jsonl", history())).cut == 150
    assert max(r["event_time_ns"] for r in stored(settings, "trades")) < at(100.0)


def test_a_file_on_the_web_is_loaded_as_one_on_the_disk(settings: Settings, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mixed.jsonl", mixed_rows(60))
    there, here = elsewhere(settings, "there"), elsewhere(settings, "here")
    with vendor(lambda r: Reply(200, path.read_bytes()) if r.path == "/mixed.jsonl" else Reply(404)) as web:
        first = loaded(there, f"{web.url}/mixed.jsonl?token=1", lake_only=True)
        assert_raises(Fatal, "404", loaded, elsewhere(settings, "no"), f"{web.url}/nothing.jsonl", lake_only=True)
    assert first.topic == loaded(here, path, lake_only=True).topic
    for table in ("trades", "quotes", *COMPUTED):
        assert stored(there, table) == stored(here, table)


@pytest.mark.chaos
def test_killed_at_random_moments_the_lake_is_that_of_an_undisturbed_load(settings: Settings, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mixed.jsonl", mixed_rows(3_000))
    undisturbed, killed = elsewhere(settings, "undisturbed"), elsewhere(settings, "killed")
    loaded(undisturbed, path, lake_only=True)
    chance, kills = Random(3), 0
    given: dict[str, Any] = {"environment": outside(), "cwd": tmp_path}
    for turn in range(4):
        child = Forked(load_in_small_steps, killed, path, output=tmp_path / f"{turn}.out", **given)
        steps = chance.randint(2, 14)
        wait_until(lambda: child.poll() is not None or lines(tmp_path / f"{turn}.out") >= steps)  # noqa: B023
        time.sleep(chance.uniform(0, 0.15))  # somewhere in its work
        kills += child.poll() is None
        child.kill()
        child.wait()
    assert kills >= 2
    last = tmp_path / "last.out"
    assert Forked(load_in_small_steps, killed, path, output=last, **given).wait(240) == 0, last.read_text()
    assert loaded(killed, path, lake_only=True).outcome == "nothing"
    for table in ("trades", "quotes", "events", *COMPUTED):
        assert as_text(stored(killed, table)) == as_text(stored(undisturbed, table)), table
    assert not StoredRows(killed).whole("dead_letters").num_rows
