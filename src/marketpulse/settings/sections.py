"""The sections of the tree: every setting with its default, its bounds and its meaning."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from marketpulse.model.quality import DEFAULT_LIMITS, DEFAULT_SEVERITY, RULES
from marketpulse.model.session import DaySpan
from marketpulse.model.timeframe import Timeframe, parse_timeframes
from marketpulse.settings.blocks import Value, flatten, producer_settings, take_servers

DEFAULT_INDICATORS = (
    "sma(20),ema(12),ema(26),rsi(14),macd(12,26,9),bbands(20,2),vwap,atr(14),realized_volatility(20),volume_sma(20)"
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # most of them are never made


def _is_block(value: Any) -> bool:
    return isinstance(value, dict | str)


class KafkaProducerSettings(Section):
    """Names are taken as Java clients write them too; TOML reads `linger.ms = 5` as a table in a table."""

    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] | None = Field(
        None, description="of the sources' rows; `compression.type` is understood; unset: lz4"
    )
    linger_ms: float | None = Field(
        None,
        ge=0,
        le=900_000,
        description="how long a row waits for others to go with it; `linger.ms` is understood; unset: 2",
    )
    batch_bytes: int | None = Field(
        None,
        ge=1,
        le=2_147_483_647,
        description="most bytes that go as one batch of a partition; `batch.size` is understood; unset: 1000000",
    )

    spool_mb: int = Field(
        1_024, ge=0, description="most MiB of each live feed that wait on the disk while the broker is away; 0: none do"
    )

    properties: dict[str, Value] = Field(
        default_factory=dict,
        description="any other property of Java's producer or of librdkafka, for what sources write; its name may stand in "
        "`[kafka.producer]` itself",
    )

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, value: Any) -> Any:
        if not _is_block(value):
            return value
        return producer_settings(flatten(value), set(cls.model_fields))


class KafkaSettings(Section):
    bootstrap_servers: str | None = Field(None, description="host:port[,…] of a cluster; unset: the embedded broker")
    topic_prefix: str = Field("", description="put before every topic's name, such as `dev.`")
    partitions: int = Field(12, ge=1, le=10_000, description="partitions of each topic that we create")
    replication_factor: int = Field(1, ge=1, description="copies of each topic that we create")
    wire: Literal["json", "arrow"] = Field("json", description="how our sources write `market`: objects or frames")
    client: dict[str, Value] = Field(
        default_factory=dict, description="any property of librdkafka, or its Java-style name, for every client"
    )
    producer: KafkaProducerSettings = Field(default_factory=KafkaProducerSettings)
    consumer: dict[str, Value] = Field(
        default_factory=dict, description="the same as `client`, for what reads; Java's consumer block is understood"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_cluster(cls, value: Any) -> Any:
        """The address in a pasted block is the cluster's, where `bootstrap_servers` does not name another."""
        if not isinstance(value, dict):
            return value
        blocks = {
            name: flatten(value[name]) for name in ("client", "producer", "consumer") if _is_block(value.get(name))
        }
        servers = take_servers(blocks)
        return (
            value | blocks | ({"bootstrap_servers": servers} if servers and not value.get("bootstrap_servers") else {})
        )


class BrokerSettings(Section):
    port: int = Field(
        0, ge=0, le=65_535, description="the embedded broker's port on 127.0.0.1; 0: the last one used, else a free one"
    )
    heap_mb: int = Field(
        384, ge=192, le=512, description="the embedded broker's heap in MiB; where it is set, it goes before heap_opts"
    )
    heap_opts: str | None = Field(
        None, description="its heap as Java's options -Xmx and -Xms; `KAFKA_HEAP_OPTS` is understood too"
    )
    properties: dict[str, Value] = Field(
        default_factory=dict,
        description="any other setting of Kafka's server.properties for the embedded broker, except what MarketPulse decides",
    )
    java: Path | None = Field(
        None, description="the Java to use; unset: the machine's if 17 or newer, else the package's"
    )
    start_timeout_s: float = Field(90, gt=0, description="how long the broker may take to be ready")

    @field_validator("properties", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return flatten(value) if _is_block(value) else value


Severity = Literal["off", "count", "mark", "drop"]
Notice = Literal["off", "count", "mark"]


def _severity(rule: str) -> Any:
    return Field(DEFAULT_SEVERITY[rule], description=RULES[rule])


def _limit(name: str, description: str, least: float = 0, most: float = 1e12) -> Any:
    return Field(DEFAULT_LIMITS[name], gt=least, le=most, description=description)


class QualitySettings(Section):
    """The rules of data quality (docs/quality.md): what becomes of the rows that each finds, and what it compares with."""

    price_unit: Severity = _severity("price_unit")
    price_band: Severity = _severity("price_band")
    price_spike: Notice = _severity("price_spike")
    bar_range: Severity = _severity("bar_range")
    size_outlier: Severity = _severity("size_outlier")
    stale: Severity = _severity("stale")
    crossed_quote: Severity = _severity("crossed_quote")
    out_of_session: Notice = _severity("out_of_session")
    missing_bars: Notice = _severity("missing_bars")
    split: Notice = _severity("split")
    dividend: Notice = _severity("dividend")
    ohlc: Severity = _severity("ohlc")
    warm_trades: float = _limit(
        "warm_trades", "so many trades or quotes of a symbol are believed before any is doubted", 0, 50
    )
    confirm_trades: float = _limit(
        "confirm_trades", "so many trades or quotes in a row that agree are the new level", 1, 1_000
    )
    confirm_bars: float = _limit("confirm_bars", "so many bars in a row that agree are the new level", 1, 1_000)
    band: float = _limit("band", "a trade, a quote or a minute's bar may always move by this part; longer bars by more")
    reopen_band: float = _limit(
        "reopen_band", "any row may always move by this part after a pause, a day's bar at once"
    )
    reopen_s: float = _limit("reopen_s", "how long without a trade or quote is a pause")
    band_factor: float = _limit("band_factor", "the band is so many times the median move, where that is more")
    range_factor: float = _limit(
        "range_factor", "a bar's high and low may lie so many median moves outside its other prices"
    )
    spike_factor: float = _limit("spike_factor", "a bar that leaps so many median moves, and is taken back by the next")
    size_factor: float = _limit("size_factor", "a trade so many times larger than the median", 1)
    volume_factor: float = _limit("volume_factor", "a bar's volume so many times larger than the median", 1)
    stale_trades: float = _limit("stale_trades", "so many trades in a row of one price and size", 1)
    stale_bars: float = _limit("stale_bars", "so many bars in a row with the same values", 1)
    dense_bars: float = _limit(
        "dense_bars", "a series is expected to have all bars after so many without a hole", 0, 60
    )
    dividend_max: float = _limit("dividend_max", "the largest part of the price that one dividend may be")


class EngineSettings(Section):
    timeframes: tuple[str, ...] = Field(
        ("1s", "1m", "5m", "1h", "1d"), description="bars to build; 100t: every 100 trades"
    )
    indicators: str = Field(DEFAULT_INDICATORS, description="what to compute on every closed bar")
    indicator_files: tuple[Path, ...] = Field(
        (), description="Python files with indicators of your own: see docs/formulas/README.md"
    )
    calendar: str = Field("24x7", description="the calendar of a symbol whose venue is unknown: a MIC, or 24x7")
    venue_calendars: dict[str, str] = Field(
        default_factory=dict, description="the calendar of a venue, where it is not its own MIC"
    )
    sessions: Literal["regular", "extended", "24x7"] = Field(
        "regular", description="a venue's day: its regular hours, pre- and post-market with them, or the UTC day"
    )
    extended_hours: dict[str, tuple[str, str]] = Field(
        default_factory=dict,
        description="a calendar's day from pre- to post-market by its own clock, where ours is not yours",
    )
    lateness_ms: int = Field(
        2_000, ge=0, description="how far behind its newest row a source may still bring older ones"
    )
    source_timeout_s: float = Field(
        30, gt=0, description="silence after which a live source no longer holds up its symbols"
    )
    max_age_s: float = Field(86_400, gt=0, description="live rows older than this are dead letters")
    max_skew_s: float = Field(5, gt=0, description="rows further ahead of the log than this are dead letters")
    auction_grace_s: float = Field(
        300, ge=0, description="how long after the session's close prints still belong to it"
    )
    fill: Literal["none", "previous"] = Field("none", description="`previous` emits a flat bar where nothing traded")
    bars_from: Literal["first", "trades", "source"] = Field(
        "first", description="what a symbol's bars are made from when both trades and bars arrive"
    )
    larger_bars: Literal["built", "given"] = Field(
        "built",
        description="what a row is where a source gives both a bar and smaller ones in its time: `built` from those, or as "
        "`given`",
    )
    correction_window_s: float = Field(
        900, ge=0, description="how far behind its symbol's watermark a late or corrected trade still revises bars"
    )
    correction_trades: int = Field(
        100_000, ge=2, description="most trades of a symbol that are kept for that; at least half of them are"
    )
    correction_bars: int = Field(
        200_000,
        ge=16,
        description="most bars of sources that are kept in one partition, so that older ones may come in any order; "
        "beyond that the symbol with the most takes none any more that is older than its newest",
    )
    revise_every: Literal["heartbeat", "row"] = Field(
        "heartbeat", description="when revised rows leave: with the next heartbeat or clock record, or after each row"
    )
    symbols_max: int = Field(20_000, ge=1, description="most symbols in one partition; more are dead letters")
    quality: QualitySettings = Field(default_factory=QualitySettings)
    alerts: tuple[dict[str, Any], ...] = Field(
        (), description="alert rules, each a table `[[engine.alerts]]` with the fields of docs/alerts.md"
    )

    @field_validator("timeframes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_timeframes(value)
        return value

    @field_validator("extended_hours")
    @classmethod
    def _spans(cls, value: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        for span in value.values():
            DaySpan.parse(span)
        return value

    def parsed_timeframes(self) -> tuple[Timeframe, ...]:
        return parse_timeframes(self.timeframes)

    def parsed_extended_hours(self) -> dict[str, DaySpan]:
        return {name: DaySpan.parse(span) for name, span in self.extended_hours.items()}


class ProcessSettings(Section):
    workers: int = Field(1, ge=1, le=64, description="engine processes that `up` starts")
    group: str = Field("marketpulse-process", description="consumer group of the engine")
    commit_ms: int = Field(
        100, ge=5, le=60_000, description="outputs and offsets commit this often, and after 2 s at the latest"
    )
    snapshot_records: int = Field(
        500_000, ge=1, description="records of a partition, or rows of its frames, between two snapshots of its state"
    )
    live_per_s: float = Field(4, ge=0, description="forming bars are shown at most this often per symbol; 0: never")
    clock_ms: int = Field(250, ge=10, le=10_000, description="clock records and heartbeats are written this often")
    static_membership: bool = Field(True, description="a worker keeps its partitions over a quick restart")


class FailoverGroup(Section):
    """Sources that can bring the same symbols."""

    sources: tuple[str, ...] = Field(min_length=2, description="names of `[sources.NAME]`, the preferred one first")
    symbols: tuple[str, ...] = Field((), description="which symbols they stand in for each other; empty: all")


class FailoverSettings(Section):
    groups: dict[str, FailoverGroup] = Field(
        default_factory=dict,
        description="by a name of yours: sources that can bring the same symbols, the preferred one first, of which one "
        "at a time feeds the bars; `symbols` may name to which ones this is limited",
    )
    after_s: float = Field(
        30, gt=0, description="an owner that brought nothing of a symbol for as long, while another did, makes way"
    )
    lost_after_s: float = Field(
        5, gt=0, description="one that wrote nothing at all for as long, not even a heartbeat, makes way at once"
    )
    back_after_s: float = Field(
        300, ge=0, description="how long a preferred source must have been sound before it takes over again"
    )
    hold_rows: int = Field(100_000, ge=1, description="most rows of a partition that are held for a switch to come")
    workers: int = Field(1, ge=1, le=64, description="selecting processes that `up` starts")
    group: str = Field("marketpulse-select", description="their consumer group")
    commit_ms: int = Field(50, ge=5, le=60_000, description="what they forward commits this often")
    snapshot_records: int = Field(
        100_000, ge=1, description="records of a partition between two snapshots of its state"
    )
    retention_h: int = Field(24, ge=1, description="hours that the topic `feeds` keeps")


class Mapping(Section):
    """How a foreign file's or topic's fields become ours. Unset names are guessed."""

    record: Literal["auto", "trade", "quote", "bar"] = Field("auto", description="what a row is")
    columns: dict[str, str] = Field(
        default_factory=dict, description='our field = their column, such as price = "last"'
    )
    symbol: str | None = Field(None, description="the symbol where no column has one; unset: from the file's name")
    venue: str | None = Field(None, description="the venue (MIC) of the rows, where no column has one")
    timezone: str = Field("UTC", description="the zone of times without one, such as America/New_York")
    time_format: str | None = Field(None, description="strptime format, where guessing is not enough")
    timeframe: str | None = Field(None, description="the length of the rows' bars; unset: from their spacing")
    split_adjusted: bool | None = Field(
        None,
        description="whether the prices are adjusted for the splits that stand in the rows already; unset: the prices tell",
    )
    extra_columns: bool | None = Field(
        None, description="carry the other columns of bars along for the archive; unset: where there is an archive"
    )


class ReplaySettings(Section):
    kind: Literal["replay"] = "replay"
    files: tuple[str, ...] = Field(
        description="CSV, JSON lines or Parquet; globs, directories and URLs are taken, and s3://bucket/folder/ for all in it"
    )
    mapping: Mapping = Field(default_factory=Mapping)
    speed: str = Field("recorded", description="`recorded`, `20x` (times faster), `500/s` (rows a second) or `max`")
    loop: bool = Field(False, description="begin again at the end, with later times")
    sample: bool = Field(False, description="send random rows, one a second, as many tutorials do")
    seed: int = Field(1, description="of the random rows")


class SimulateSettings(Section):
    kind: Literal["simulate"] = "simulate"
    symbols: int = Field(24, ge=1, le=50_000, description="how many symbols trade")
    rate: float = Field(400, gt=0, description="rows a second in all, trades and quotes together")
    seed: int = Field(7, description="the same seed, the same market")
    quotes: bool = Field(True, description="quotes around the trades")
    duration_s: float | None = Field(None, gt=0, description="stop after this; unset: never")
    start: str | None = Field(
        None, description="simulate history from this ISO time on, as fast as possible; unset: now, live"
    )


class KafkaSourceSettings(Section):
    kind: Literal["kafka"] = "kafka"
    topic: str = Field(description="a topic with foreign JSON or Avro")
    bootstrap_servers: str | None = Field(None, description="its cluster, where it is another")
    create: bool | None = Field(
        None, description="create the topic while it is missing, instead of waiting; unset: on the embedded broker only"
    )
    mapping: Mapping = Field(default_factory=Mapping)
    mode: Literal["auto", "live", "historical"] = Field(
        "auto", description="auto: live when the first rows are younger than max_age"
    )
    schema_registry: str | None = Field(
        None, pattern=r"^https?://[^@/]+(/.*)?$", description="the address of the registry that has its Avro schemas"
    )
    registry_user: str | None = Field(None, description="the login at the registry, where it asks for one")
    registry_password: SecretStr | None = Field(None, description="its password; from the environment or `.env` only")
    schema_file: Path | None = Field(None, description="a file with its Avro schema; it goes before a registry")
    schema_header: bool = Field(
        True, description="with schema_file: values begin with Confluent's five bytes, a zero and the schema's id"
    )


class HealSettings(Section):
    automatic: bool = Field(True, description="bring in what came too late by itself while `up` runs")
    rows_max: int = Field(
        2_000_000,
        ge=1,
        description="a symbol whose stored trades may be more is left to `marketpulse heal`; a rebuild holds as many",
    )


class ParitySettings(Section):
    enabled: bool = Field(True, description="check stored rows against the log while `up` runs")
    every_s: float = Field(60, gt=0, description="seconds between two looks; the first comes after one of them")
    cpu_percent: float = Field(5, gt=0, le=100, description="share of one core that the check may take")


class ScorecardSettings(Section):
    enabled: bool = Field(True, description="keep a scorecard of the sources while the page is served")
    hours: int = Field(4, ge=1, le=24, description="how far back it goes")
    series_max: int = Field(
        5_000, ge=1, le=100_000, description="symbols of all sources that it follows minute by minute"
    )
    catch_up_records: int = Field(
        5_000_000, ge=0, description="most records of a topic that a start reads back; what is older is not counted"
    )
    cpu_percent: float = Field(
        25, gt=0, le=100, description="share of one core that reading may take, while it catches up"
    )


class SqlSettings(Section):
    memory_limit_mb: int = Field(1_024, ge=64, description="memory that one query may use")
    timeout_s: float = Field(60, gt=0, description="time that one query may take")
    at_once: int = Field(2, ge=1, le=64, description="queries of the web API that run at once")
    waiting: int = Field(8, ge=0, le=1_000, description="queries that wait for that; more are told to come again")
    rows_max: int = Field(
        100_000, ge=1, le=10_000_000, description="most rows in one answer of the web API; the next follow on asking"
    )


class ServeSettings(Section):
    host: str = Field("127.0.0.1", description="the address that the page is served on")
    port: int = Field(8080, ge=0, le=65_535, description="the page's port; 0: a free one")
    allowed_hosts: tuple[str, ...] = Field((), description="Host names accepted beside the loopback ones")
    token: SecretStr | None = Field(
        None,
        description="who asks must have it; needed where `host` is not a loopback address; from the environment or `.env` only",
    )
    requests_per_s: float = Field(
        50, gt=0, description="requests of the API that one client may make a second; four times as many at once"
    )
    history_bars: int = Field(500, ge=10, le=10_000, description="bars per symbol and timeframe kept for the page")
    frames_per_s: float = Field(10, gt=0, le=60, description="updates a second to each page, at most")
    first_picture: Literal["lake", "redis"] = Field(
        "lake", description="where a page that starts gets its bars from, before it follows the log"
    )

    @field_validator("token")
    @classmethod
    def _strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]{20,512}", value.get_secret_value()):
            raise ValueError(
                'use 20 to 512 letters, digits and signs: `python3 -c "import secrets; print(secrets.token_urlsafe(32))"` '
                "makes one"
            )
        return value


class ChaosSettings(Section):
    allowed: bool = Field(
        False,
        description="whether `marketpulse chaos --config` may inject faults into this pipeline, such as killing its processes",
    )


class TelemetrySettings(Section):
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="what goes to the log")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else JSON")
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Prometheus and health port of this process; 0: a free one"
    )
