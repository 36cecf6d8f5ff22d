"""The loop by hand with wickra's indicator objects, eight per symbol."""

import wickra
from consume_loop import consume_trades
from counting_sink import given


def new_objects():
    sma, ema_12, ema_26, rsi = (
        wickra.SMA(20).update,
        wickra.EMA(12).update,
        wickra.EMA(26).update,
        wickra.RSI(14).update,
    )
    macd, bands, roc, vwap = (
        wickra.MACD().update,
        wickra.BollingerBands().update,
        wickra.ROC(10).update,
        wickra.VWAP().update,
    )

    def update(price: float, size: float) -> tuple[float, ...] | None:
        lines, band = macd(price), bands(price)
        singles = sma(price), ema_12(price), ema_26(price), rsi(price)
        change, average = roc(price), vwap((price, price, price, price, size, 0))
        if lines is None:
            return None
        return (*singles, *lines, *band[:3], change, average)

    return update


if __name__ == "__main__":
    consume_trades(given(), "wickra", new_objects)
