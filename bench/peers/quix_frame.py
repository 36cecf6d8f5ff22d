"""Quix Streams: a streaming dataframe with state in RocksDB and its changelog in Kafka, as the guide has it."""

from arithmetic import advance, fresh
from counting_sink import CountingSink, given
from quixstreams import Application, State


def main() -> None:
    asked = given()
    sink = CountingSink(asked)
    app = Application(
        broker_address=asked.bootstrap, consumer_group="quix", auto_offset_reset="earliest",
        state_dir=asked.work, loglevel="WARNING",
    )  # fmt: skip

    def indicators(trade: dict, state: State) -> dict:
        kept = state.get("indicators") or fresh()
        values = advance(kept, trade["price"], trade["size"])
        state.set("indicators", kept)
        return {"symbol": trade["symbol"], "values": values}

    frame = app.dataframe(app.topic(asked.topic, value_deserializer="json"))
    frame = frame[frame["type"] == "trade"].apply(indicators, stateful=True)
    frame.update(lambda row: sink.take(row["symbol"], row["values"]))
    app.run()


if __name__ == "__main__":
    main()
