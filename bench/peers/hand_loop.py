"""A loop by hand: the C client's `consume()`, orjson, a closure per symbol."""

import orjson
from arithmetic import new_indicators
from confluent_kafka import Consumer, TopicPartition
from counting_sink import CountingSink, given


def main() -> None:
    asked = given()
    consumer = Consumer({
        "bootstrap.servers": asked.bootstrap, "group.id": "hand", "enable.auto.commit": False,
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
                update = symbols[symbol] = new_indicators()
            sink.take(symbol, update(event["price"], event["size"]))


if __name__ == "__main__":
    main()
