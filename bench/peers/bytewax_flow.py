"""Bytewax: a dataflow of one worker, `stateful_map` per symbol."""

import bytewax.operators as op
import orjson
from arithmetic import advance, fresh
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main
from counting_sink import CountingSink, given


class Counting(StatelessSinkPartition):
    def __init__(self, sink: CountingSink) -> None:
        self._sink = sink

    def write_batch(self, items: list) -> None:
        for symbol, values in items:
            self._sink.take(symbol, values)


class Counted(DynamicSink):
    def __init__(self, sink: CountingSink) -> None:
        self._sink = sink

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Counting:  # noqa: ARG002
        return Counting(self._sink)


def trade_of(message):
    event = orjson.loads(message.value)
    return (event["symbol"], event) if event["type"] == "trade" else None


def indicators(state, trade):
    state = state or fresh()
    return state, advance(state, trade["price"], trade["size"])


def main() -> None:
    asked = given()
    flow = Dataflow("indicators")
    messages = op.input("market", flow, KafkaSource([asked.bootstrap], [asked.topic], batch_size=10_000))
    rows = op.stateful_map("indicators", op.filter_map("trades", messages, trade_of), indicators)
    op.output("counted", rows, Counted(CountingSink(asked)))
    cli_main(flow)


if __name__ == "__main__":
    main()
