"""Faust: an agent over the topic, a closure per symbol in memory."""

import sys

import faust
from arithmetic import new_indicators
from counting_sink import CountingSink, given

ASKED = given()
SINK = CountingSink(ASKED)

app = faust.App(
    "faust-peer",
    broker=f"kafka://{ASKED.bootstrap}",
    datadir=ASKED.work,
    value_serializer="json",
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
)
market = app.topic(ASKED.topic, key_type=bytes, value_serializer="json")
symbols = {}


@app.agent(market)
async def indicators(events):
    async for event in events:
        if event["type"] != "trade":
            continue
        symbol = event["symbol"]
        update = symbols.get(symbol)
        if update is None:
            update = symbols[symbol] = new_indicators()
        SINK.take(symbol, update(event["price"], event["size"]))


if __name__ == "__main__":
    sys.argv[1:] = ["worker", "--loglevel", "warn"]
    app.main()
