"""Vendors' answers for tests: recorded ones, and ones made in their shape."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from marketpulse.sources.rest import Answer

RECORDED = Path(__file__).parent / "data" / "vendors"
NEW_YORK = ZoneInfo("America/New_York")


def recorded(name: str) -> dict[str, Any]:
    """A recorded answer of Alpha Vantage."""
    found = orjson.loads((RECORDED / "alpha_vantage" / name).read_bytes())
    assert isinstance(found, dict)
    return found


def answer(body: Any, received_ns: int) -> Answer:
    return Answer(body, orjson.dumps(body), {}, received_ns)


def ns(*moment: int, zone: Any = UTC) -> int:
    year, month, day, *clock = moment
    return int(datetime(year, month, day, *clock, tzinfo=zone).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def yahoo_chart(
    times: Sequence[int], closes: Sequence[float | None], *, zone: str = "America/New_York", exchange: str = "NMS",
    regular: tuple[int, int] = (0, 0), market_time: int = 0, currency: str = "USD", granularity: str = "1m",
) -> dict[str, Any]:  # fmt: skip
    """An answer of the chart API. Each bar opens at its close, with a high 1 above and a low 1 below."""

    def column(shift: float) -> list[float | None]:
        return [None if close is None else close + shift for close in closes]

    begin, end = regular
    return {"chart": {"error": None, "result": [{
        "meta": {
            "currency": currency, "symbol": "AAPL", "exchangeName": exchange, "instrumentType": "EQUITY",
            "regularMarketTime": market_time, "exchangeTimezoneName": zone, "dataGranularity": granularity,
            "currentTradingPeriod": {
                "pre": {"start": begin - 19_800, "end": begin}, "regular": {"start": begin, "end": end},
                "post": {"start": end, "end": end + 14_400},
            },
        },
        "timestamp": list(times),
        "indicators": {"quote": [{
            "open": column(0), "high": column(1), "low": column(-1), "close": column(0),
            "volume": [None if close is None else 100 for close in closes],
        }]},
    }]}}  # fmt: skip
