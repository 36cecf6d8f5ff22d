"""The loop that people write by hand: the C client's `consume()`, orjson, what they compute with for each symbol."""

from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from counting_sink import CountingSink, Given

Values = tuple[float, ...] | None
Update = Callable[[float, float], Values]


def consume_trades(
    asked: Given, group: str, new_update: Callable[[], Update], write: Callable[[dict[str, Any], Values], None] | None = None
) -> None:  # fmt: skip
    """Takes every trade's price and size; the process ends in the sink. `write`: what else is done with its values."""
    consumer = Consumer({
        "bootstrap.servers": asked.bootstrap, "group.id": group, "enable.auto.commit": False,
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
                update = symbols[symbol] = new_update()
            values = update(event["price"], event["size"])
            if write is not None:
                write(event, values)
            sink.take(symbol, values)
