"""Spark Structured Streaming: stateful pandas per symbol, micro-batches; the rows come to the driver as Arrow, and are counted."""

import os
import pickle
import sys
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
from arithmetic import VALUES, advance, fresh
from counting_sink import CountingSink, given
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.streaming.state import GroupStateTimeout

ROWS = "symbol string, place long, " + ", ".join(f"{name} double" for name in VALUES)
EVENT = "type string, symbol string, price double, size double"
NONE = (None,) * len(VALUES)


def indicators(key, frames, state):
    """A symbol's part of a micro-batch, which comes in no order."""
    kept = pickle.loads(state.get[0]) if state.exists else fresh()  # noqa: S301
    trades = pd.concat(list(frames)).sort_values("offset")
    rows = [
        (key[0], place, *(advance(kept, price, size) or NONE))
        for place, price, size in zip(trades["offset"], trades["price"], trades["size"], strict=True)
    ]
    state.update((pickle.dumps(kept),))
    yield pd.DataFrame(rows, columns=["symbol", "place", *VALUES])


def main() -> None:
    asked = given()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master("local[2]").config("spark.jars", ",".join(asked.jars)).config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "3g")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.driver.maxResultSize", "0").getOrCreate()
    )  # fmt: skip
    spark.sparkContext.addPyFile(str(Path(__file__).with_name("arithmetic.py")))  # for its Python workers
    log = (
        spark.readStream.format("kafka").option("kafka.bootstrap.servers", asked.bootstrap).option("subscribe", asked.topic)
        .option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", 50_000).load()
    )  # fmt: skip
    events = log.select("offset", F.from_json(F.col("value").cast("string"), EVENT).alias("event"))
    trades = events.select("offset", "event.*").where("type = 'trade'")
    rows = trades.groupBy("symbol").applyInPandasWithState(
        indicators, ROWS, "kept binary", "append", GroupStateTimeout.NoTimeout
    )
    sink = CountingSink(asked)

    def take(batch, _number) -> None:
        table = batch.toArrow()
        last = {}
        for symbol in asked.compared:
            own = table.filter(pc.equal(table["symbol"], symbol)).sort_by("place").to_pylist()
            if own:
                last[symbol] = len(own), [own[-1][name] for name in VALUES]
        sink.take_batch(table.num_rows, last)

    rows.writeStream.foreachBatch(take).option(
        "checkpointLocation", asked.work + "/checkpoint"
    ).start().awaitTermination()


if __name__ == "__main__":
    main()
