"""The loop by hand with talipp's indicator objects, eight per symbol."""

from consume_loop import consume_trades
from counting_sink import given
from talipp.indicators import BB, EMA, MACD, ROC, RSI, SMA, VWAP
from talipp.ohlcv import OHLCV

KEPT = 200  # talipp keeps every value; this many are left when it has twice as many


def new_objects():
    closes = SMA(20), EMA(12), EMA(26), RSI(14), MACD(12, 26, 9), BB(20, 2), ROC(10)
    sma, ema_12, ema_26, rsi, macd, bands, roc = closes
    vwap = VWAP()

    def update(price: float, size: float) -> tuple[float, ...] | None:
        for indicator in closes:
            indicator.add(price)
        vwap.add(OHLCV(price, price, price, price, size))
        if len(sma) > 2 * KEPT:
            for indicator in (*closes, vwap):
                indicator.purge_oldest(KEPT)
        lines, band = macd[-1], bands[-1]
        if lines is None or lines.signal is None:
            return None
        return (
            sma[-1], ema_12[-1], ema_26[-1], rsi[-1], lines.macd, lines.signal, lines.histogram,
            band.ub, band.cb, band.lb, roc[-1], vwap[-1],
        )  # fmt: skip

    return update


if __name__ == "__main__":
    consume_trades(given(), "talipp", new_objects)
