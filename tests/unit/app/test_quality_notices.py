import orjson

from market_rows import MIDNIGHT_NS, Engine, Row, bar, batch_of, config_of, hello, trade
from marketpulse.app.quality_notices import quality_notices
from marketpulse.kafka.codec import MarketDecoder
from marketpulse.kafka.records import records_of
from marketpulse.model.market import Kind

LIMITS = {"warm_trades": 1.0}
ROWS: list[Row] = [hello(mode="historical", lateness_ns=0), trade("A", 0, 100, 1), trade("A", 1, 10_000, 1)]


def notices(rows: list[Row], **quality: str) -> list[tuple[bytes, bytes]]:
    engine = Engine(config_of(["1m"], quality=quality, quality_limits=LIMITS))
    result = engine.step(rows)
    return quality_notices(batch_of(rows, 0, engine.strings), result.found)


def test_a_marked_row_is_told_with_its_place_and_what_is_wrong() -> None:
    ((key, value),) = notices(ROWS)
    assert key == b"A"
    assert orjson.loads(value) == {
        "type": "quality", "symbol": "A", "source": "feed", "event_time_ns": MIDNIGHT_NS + 10**9,
        "rule": "price_unit", "offset": 2, "row": 0, "value": 10_000.0, "expected": 100.0,
        "detail": "10000 where 100 is about the level",
    }  # fmt: skip


def test_what_is_only_counted_or_dropped_is_not_told_there() -> None:
    assert notices(ROWS, price_unit="count") == notices(ROWS, price_unit="drop") == []


def test_a_dividend_is_told_by_its_symbol() -> None:
    event = {"type": "dividend", "symbol": "A", "source": "feed", "event_time_ns": MIDNIGHT_NS + 60 * 10**9, "amount": 150.0,
             "ex_time_ns": MIDNIGHT_NS}  # fmt: skip
    rows = [ROWS[0], bar("A", "1m", 0, 60, (100, 101, 99, 100, 5)), event]
    ((key, value),) = notices(rows)
    assert key == b"A"
    assert orjson.loads(value)["rule"] == "dividend"
    assert orjson.loads(value)["offset"] == 2


def test_the_record_keeps_the_contract_of_market_and_the_engine_lets_it_pass() -> None:
    ((_, value),) = notices(ROWS)
    batch, refused = MarketDecoder().decode("market", records_of([value]))
    assert not refused
    assert batch.kind.tolist() == [Kind.QUALITY]
    engine = Engine(config_of(["1m"]))
    record = {**orjson.loads(value), "source": "nobody"}
    result = engine.step([record])
    assert not result.refused
    assert not len(result.found)
    assert len(engine.state.sources) == 0
