"""The peers: their scripts, what is installed for each, and what each promises as it is run here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promises:
    """`yes` as run here; `can` where a setting or another connector of the peer gives it; `no`."""

    exactly_once: str
    revises_late_trades: str
    restart_without_loss: str
    receipts: str
    not_done: str  # of the work that ours does, or of the eight indicators


@dataclass(frozen=True, slots=True)
class Peer:
    """`packages` are exact pins, the peer itself first; none means the project's own environment."""

    name: str
    title: str
    script: str
    packages: tuple[str, ...]
    promises: Promises
    slow: bool = False
    jars: tuple[str, ...] = ()  # Maven coordinates, group:artifact:version
    values: tuple[str, ...] = ()  # which it gives, where not all

    @property
    def version(self) -> str:
        return self.packages[0].partition("==")[2] if self.packages else ""


CLIENT = ("confluent-kafka==2.16.1", "orjson==3.13.0")
IN_MEMORY = "state is in memory only; offsets are not committed; rows are counted, not written"
NO_CHECKPOINT = "checkpoints are off; rows are counted, not written"
FLINK_KAFKA = ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",)

PEERS = (
    Peer(
        "marketpulse", "MarketPulse, one worker", "marketpulse_worker.py", (),
        Promises("yes", "yes", "yes", "yes", "–"),
    ),
    Peer(
        "marketpulse_counting", "MarketPulse, one worker, rows counted", "marketpulse_counting.py", (),
        Promises("no", "yes", "yes", "no", "rows are counted, not written"),
    ),
    Peer(
        "hand_loop_writing", "hand-written loop that writes its rows", "hand_loop_writing.py", CLIENT,
        Promises("no", "no", "no", "no", "state is in memory only; offsets are not committed"),
    ),
    Peer(
        "hand_loop", "hand-written loop, confluent-kafka", "hand_loop.py", CLIENT,
        Promises("no", "no", "no", "no", IN_MEMORY),
    ),
    Peer(
        "aiokafka", "hand-written loop, aiokafka", "aiokafka_loop.py", ("aiokafka[lz4]==0.14.0", "orjson==3.13.0"),
        Promises("no", "no", "no", "no", IN_MEMORY),
    ),
    Peer(
        "wickra", "wickra objects in that loop", "wickra_objects.py", ("wickra==2.0.0", *CLIENT),
        Promises("no", "no", "no", "no", IN_MEMORY),
    ),
    Peer(
        "talipp", "talipp objects in that loop", "talipp_objects.py", ("talipp==2.7.0", *CLIENT),
        Promises("no", "no", "no", "no", IN_MEMORY), slow=True,
    ),
    Peer(
        "quixstreams", "Quix Streams", "quix_frame.py", ("quixstreams==3.28.1",),
        Promises("can", "no", "yes", "no", "rows are counted, not written"), slow=True,
    ),
    Peer(
        "bytewax", "Bytewax", "bytewax_flow.py", ("bytewax[kafka]==0.21.1", "orjson==3.13.0"),
        Promises("no", "no", "can", "no", "state is not stored, as no recovery folder is set; rows are counted, not written"),
        slow=True,
    ),
    Peer(
        "pathway", "Pathway", "pathway_table.py", ("pathway==0.33.0",),
        Promises("can", "can", "can", "no", "state is not stored, as no persistence is set; rows are counted, not written; exactly once is in its paid edition"),
    ),
    Peer(
        "csp", "csp", "csp_graph.py", ("csp==0.19.1",),
        Promises("no", "no", "no", "no", IN_MEMORY),
    ),
    Peer(
        "faust", "Faust", "faust_agent.py", ("faust-streaming==0.15.3", "aiokafka[lz4]==0.14.0"),
        Promises("can", "no", "can", "no", "state is in memory, not in its tables; rows are counted, not written"), slow=True,
    ),
    Peer(
        "spark", "Spark Structured Streaming, stateful pandas", "spark_stream.py",
        ("pyspark==4.0.0", "pandas==2.3.3", "pyarrow==21.0.0"),
        Promises("can", "no", "yes", "no", "rows are counted, not written"), slow=True,
        jars=(
            "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0",
            "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0",
            "org.apache.kafka:kafka-clients:3.9.0", "org.apache.commons:commons-pool2:2.12.0",
        ),
    ),
    Peer(
        "flink_sql", "Flink SQL, parallelism 1", "flink_sql.py", ("apache-flink==2.2.0", *CLIENT),
        Promises("can", "no", "can", "no", "checkpoints are off; rows are written without transactions"), slow=True, jars=FLINK_KAFKA,
        values=("sma_20", "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "roc_10", "vwap"),
    ),
    Peer(
        "flink_process", "PyFlink DataStream, parallelism 1", "flink_process.py", ("apache-flink==2.2.0",),
        Promises("can", "can", "can", "no", NO_CHECKPOINT), slow=True, jars=FLINK_KAFKA,
    ),
    Peer(
        "deephaven", "Deephaven", "deephaven_tables.py", ("deephaven-server==42.7",),
        Promises("no", "can", "no", "no", IN_MEMORY),
    ),
)  # fmt: skip
