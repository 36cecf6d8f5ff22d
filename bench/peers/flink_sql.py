"""Flink SQL: the indicators that its windows can say (no exponential averages), one row per trade, written to a topic.

That topic's end is asked for twenty times a second; its rows are read afterwards. (Rows that come back to a Python client by
`collect()` come one by one, which would be what is measured.)
"""

import time

import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from counting_sink import MEASURE_S, finish, given
from pyflink.table import EnvironmentSettings, TableEnvironment

MARKET = """
CREATE TABLE market (type STRING, symbol STRING, price DOUBLE, size DOUBLE, arrival AS PROCTIME()) WITH (
    'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{bootstrap}',
    'properties.group.id' = 'flink-sql', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'
)
"""

ROWS = """
CREATE TABLE found (symbol STRING, sma DOUBLE, upper_band DOUBLE, middle DOUBLE, lower_band DOUBLE, roc DOUBLE, vwap DOUBLE) WITH (
    'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{bootstrap}', 'format' = 'json'
)
"""

INDICATORS = """
INSERT INTO found
SELECT symbol, sma, sma + 2 * deviation, sma, sma - 2 * deviation, 100 * (price - past) / past, notional / volume
FROM (
    SELECT symbol, price, sma, deviation, past,
        SUM(price * size) OVER (PARTITION BY symbol ORDER BY arrival ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS notional,
        SUM(size) OVER (PARTITION BY symbol ORDER BY arrival ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS volume
    FROM (
        SELECT symbol, price, size, arrival, sma, deviation,
            FIRST_VALUE(price) OVER (PARTITION BY symbol ORDER BY arrival ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS past
        FROM (
            SELECT symbol, price, size, arrival, AVG(price) OVER recent AS sma, STDDEV_POP(price) OVER recent AS deviation
            FROM market WHERE type = 'trade'
            WINDOW recent AS (PARTITION BY symbol ORDER BY arrival ROWS BETWEEN 19 PRECEDING AND CURRENT ROW)
        )
    )
)
"""
"""A SELECT may have one window only, so there are three, one in another."""


def main() -> None:
    asked = given()
    flink = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    flink.get_config().set("pipeline.jars", ";".join(f"file://{jar}" for jar in asked.jars))
    flink.get_config().set("parallelism.default", "1")
    out = f"{asked.topic}.flink"
    admin = AdminClient({"bootstrap.servers": asked.bootstrap})
    for made in admin.create_topics([NewTopic(out, 1, 1)]).values():
        made.result()
    flink.execute_sql(MARKET.format(topic=asked.topic, bootstrap=asked.bootstrap))
    flink.execute_sql(ROWS.format(topic=out, bootstrap=asked.bootstrap))
    consumer = Consumer({"bootstrap.servers": asked.bootstrap, "group.id": "flink-read", "enable.auto.commit": False})
    flink.execute_sql(INDICATORS)
    place, first, began = TopicPartition(out, 0, 0), 0, 0.0
    while True:
        rows = consumer.get_watermark_offsets(place)[1]
        now = time.perf_counter()
        if rows and not first:
            first, began = rows, now
        if rows >= asked.trades or (first and now - began > MEASURE_S):
            finish(now - began, rows - first, rows, last_values(consumer, place, rows, asked.compared))
        time.sleep(0.05)


def last_values(consumer: Consumer, place: TopicPartition, rows: int, compared: tuple[str, ...]) -> dict:
    """Of each compared symbol, how many of the first rows it has, and its values in the last."""
    last, seen = dict.fromkeys(compared, (0, None)), 0
    consumer.assign([place])
    while seen < rows:
        for message in consumer.consume(min(10_000, rows - seen), 1):
            symbol, *values = orjson.loads(message.value()).values()
            seen += 1
            if symbol in last:
                last[symbol] = last[symbol][0] + 1, values
    return last


if __name__ == "__main__":
    main()
