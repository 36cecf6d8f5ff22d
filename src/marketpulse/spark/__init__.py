"""The same operators on Spark Structured Streaming.

step.py       (what is kept, records) -> (what is kept, rows), for one partition; knows nothing of Spark
streaming.py  a stream of records -> a stream of rows: Spark keeps what `step` keeps
session.py    a Spark of one machine, on any Java 17+
"""
