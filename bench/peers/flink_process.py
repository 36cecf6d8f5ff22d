"""PyFlink's DataStream: a keyed process function in Python; its rows come back to the client, which counts them."""

import json
import sys

from arithmetic import advance, fresh
from counting_sink import CountingSink, given
from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.state import ValueStateDescriptor


class Indicators(KeyedProcessFunction):
    def open(self, runtime_context) -> None:
        self._kept = runtime_context.get_state(ValueStateDescriptor("kept", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value, ctx):  # noqa: ARG002
        kept = self._kept.value() or fresh()
        values = advance(kept, value["price"], value["size"])
        self._kept.update(kept)
        yield value["symbol"], values


def main() -> None:
    asked = given()
    settings = Configuration()
    settings.set_string("pipeline.jars", ";".join(f"file://{jar}" for jar in asked.jars))
    settings.set_string("python.executable", sys.executable)
    settings.set_string("python.client.executable", sys.executable)
    flink = StreamExecutionEnvironment.get_execution_environment(settings)
    flink.set_parallelism(1)
    source = (
        KafkaSource.builder().set_bootstrap_servers(asked.bootstrap).set_topics(asked.topic).set_group_id("flink")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_value_only_deserializer(SimpleStringSchema()).build()
    )  # fmt: skip
    events = flink.from_source(source, WatermarkStrategy.no_watermarks(), "market").map(json.loads)
    trades = events.filter(lambda event: event["type"] == "trade")
    rows = trades.key_by(lambda trade: trade["symbol"], key_type=Types.STRING()).process(Indicators())
    sink = CountingSink(asked)
    with rows.execute_and_collect() as found:
        for symbol, values in found:
            sink.take(symbol, values)


if __name__ == "__main__":
    main()
