"""The loop by hand on the asyncio client: `getmany()`, orjson, a closure per symbol."""

import asyncio

import orjson
from aiokafka import AIOKafkaConsumer
from arithmetic import new_indicators
from counting_sink import CountingSink, given


async def main() -> None:
    asked = given()
    consumer = AIOKafkaConsumer(
        asked.topic, bootstrap_servers=asked.bootstrap, group_id="aiokafka", auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
    sink, symbols, loads = CountingSink(asked), {}, orjson.loads
    while True:
        for records in (await consumer.getmany(timeout_ms=100, max_records=10_000)).values():
            for record in records:
                event = loads(record.value)
                if event["type"] != "trade":
                    continue
                symbol = event["symbol"]
                update = symbols.get(symbol)
                if update is None:
                    update = symbols[symbol] = new_indicators()
                sink.take(symbol, update(event["price"], event["size"]))


if __name__ == "__main__":
    asyncio.run(main())
