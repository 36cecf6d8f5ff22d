"""The loop by hand, with each row written to a topic as one JSON object; without transactions."""

from typing import Any

import orjson
from arithmetic import VALUES, new_indicators
from confluent_kafka import Producer
from consume_loop import Values, consume_trades
from counting_sink import given


def main() -> None:
    asked = given()
    producer = Producer({
        "bootstrap.servers": asked.bootstrap, "linger.ms": 20, "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    dumps = orjson.dumps

    def write(event: dict[str, Any], values: Values) -> None:
        row = {"symbol": event["symbol"], "event_time_ns": event["event_time_ns"], "close": event["price"]}
        if values is not None:
            row.update(zip(VALUES, values, strict=True))
        while True:
            try:
                producer.produce("hand-rows", dumps(row), event["symbol"])
                return
            except BufferError:
                producer.poll(0.1)

    consume_trades(asked, "hand-writing", new_indicators, write)


if __name__ == "__main__":
    main()
