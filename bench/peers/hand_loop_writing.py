"""The loop by hand, with each row written to a topic as one JSON object; without transactions."""

import orjson
from arithmetic import VALUES, new_indicators
from confluent_kafka import Consumer, Producer, TopicPartition
from counting_sink import CountingSink, given


def main() -> None:
    asked = given()
    consumer = Consumer({
        "bootstrap.servers": asked.bootstrap, "group.id": "hand-writing", "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    })  # fmt: skip
    consumer.assign([TopicPartition(asked.topic, p, 0) for p in range(asked.partitions)])
    producer = Producer({
        "bootstrap.servers": asked.bootstrap, "linger.ms": 20, "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    sink, symbols, loads, dumps = CountingSink(asked), {}, orjson.loads, orjson.dumps
    while True:
        for message in consumer.consume(10_000, 0.1):
            event = loads(message.value())
            if event["type"] != "trade":
                continue
            symbol = event["symbol"]
            update = symbols.get(symbol)
            if update is None:
                update = symbols[symbol] = new_indicators()
            values = update(event["price"], event["size"])
            row = {"symbol": symbol, "event_time_ns": event["event_time_ns"], "close": event["price"]}
            if values is not None:
                row.update(zip(VALUES, values, strict=True))
            while True:
                try:
                    producer.produce("hand-rows", dumps(row), symbol)
                    break
                except BufferError:
                    producer.poll(0.1)
            sink.take(symbol, values)
        producer.poll(0)


if __name__ == "__main__":
    main()
