"""The loop by hand with wickra's indicator objects, eight per symbol."""

import orjson
import wickra
from confluent_kafka import Consumer, TopicPartition
from counting_sink import CountingSink, given


def main() -> None:
    asked = given()
    consumer = Consumer({
        "bootstrap.servers": asked.bootstrap, "group.id": "wickra", "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(asked.topic, p, 0) for p in range(asked.partitions)])
    sink, symbols, loads = CountingSink(asked), {}, orjson.loads
    while True:
        for message in consumer.consume(10_000, 0.1):
            event = loads(message.value())
            if event["type"] != "trade":
                continue
            symbol = event["symbol"]
            update = symbols.get(symbol)
            if update is None:
                update = symbols[symbol] = new_objects()
            sink.take(symbol, update(event["price"], event["size"]))


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
    main()
