"""The sections of the tree: every setting with its default, its bounds and its meaning."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from marketpulse.model.session import DaySpan
from marketpulse.model.tables import EVENT_TIME_COLUMN
from marketpulse.model.timeframe import Cut, Timeframe, parse_timeframes

DEFAULT_INDICATORS = "sma(20),ema(12),ema(26),rsi(14),macd(12,26,9),bbands(20,2),vwap,atr(14),realized_volatility(20),volume_sma(20)"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(Section):
    bootstrap_servers: str | None = Field(
        None, description="host:port[,…] of a cluster; unset: the embedded broker"
    )
    topic_prefix: str = Field("", description="put before every topic's name, such as `dev.`")
    partitions: int = Field(12, ge=1, le=10_000, description="partitions of each topic that we create")
    replication_factor: int = Field(1, ge=1, description="copies of each topic that we create")
    wire: Literal["json", "arrow"] = Field(
        "json", description="how our sources write `market`: objects or frames"
    )
    client: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="any property of librdkafka, or its Java-style name, for every client",
    )

    @field_validator("client")
    @classmethod
    def _texts(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {str(k): v for k, v in value.items()}


class BrokerSettings(Section):
    port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="the embedded broker's port on 127.0.0.1; 0: the last one used, else a free one",
    )
    heap_mb: int = Field(384, ge=192, le=512, description="the embedded broker's heap in MiB")
    java: Path | None = Field(
        None, description="the Java to use; unset: the machine's if 17 or newer, else the package's"
    )
    start_timeout_s: float = Field(90, gt=0, description="how long the broker may take to be ready")


class EngineSettings(Section):
    timeframes: tuple[str, ...] = Field(
        ("1s", "1m", "5m", "1h", "1d"), description="bars to build; 100t: every 100 trades"
    )
    indicators: str = Field(DEFAULT_INDICATORS, description="what to compute on every closed bar")
    indicator_files: tuple[Path, ...] = Field(
        (), description="Python files with indicators of your own: see the guide"
    )
    calendar: str = Field(
        "24x7", description="the calendar of a symbol whose venue is unknown: a MIC, or 24x7"
    )
    venue_calendars: dict[str, str] = Field(
        default_factory=dict, description="the calendar of a venue, where it is not its own MIC"
    )
    sessions: Literal["regular", "extended", "24x7"] = Field(
        "regular",
        description="a venue's day: its regular hours, pre- and post-market with them, or the UTC day",
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
    fill: Literal["none", "previous"] = Field(
        "none", description="`previous` emits a flat bar where nothing traded"
    )
    bars_from: Literal["first", "trades", "source"] = Field(
        "first", description="what a symbol's bars are made from when both trades and bars arrive"
    )
    correction_window_s: float = Field(
        900,
        ge=0,
        description="how far behind its symbol's watermark a late or corrected trade still revises bars",
    )
    correction_trades: int = Field(
        100_000, ge=2, description="most trades of a symbol that are kept for that; at least half of them are"
    )
    revise_every: Literal["heartbeat", "row"] = Field(
        "heartbeat",
        description="when revised rows leave: with the next heartbeat or clock record, or after each row",
    )
    symbols_max: int = Field(20_000, ge=1, description="most symbols in one partition; more are dead letters")
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
    commit_ms: int = Field(100, ge=5, le=60_000, description="outputs and offsets commit this often")
    snapshot_records: int = Field(
        500_000,
        ge=1,
        description="records of a partition, or rows of its frames, between two snapshots of its state",
    )
    live_per_s: float = Field(
        4, ge=0, description="forming bars are shown at most this often per symbol; 0: never"
    )
    clock_ms: int = Field(
        250, ge=10, le=10_000, description="clock records and heartbeats are written this often"
    )
    static_membership: bool = Field(True, description="a worker keeps its partitions over a quick restart")


class Mapping(Section):
    """How a foreign file's or topic's fields become ours. Unset names are guessed."""

    record: Literal["auto", "trade", "quote", "bar"] = Field("auto", description="what a row is")
    columns: dict[str, str] = Field(
        default_factory=dict, description='our field = their column, such as price = "last"'
    )
    symbol: str | None = Field(
        None, description="the symbol where no column has one; unset: from the file's name"
    )
    venue: str | None = Field(None, description="the venue (MIC) of the rows, where no column has one")
    timezone: str = Field("UTC", description="the zone of times without one, such as America/New_York")
    time_format: str | None = Field(None, description="strptime format, where guessing is not enough")
    timeframe: str | None = Field(None, description="the length of the rows' bars; unset: from their spacing")


class ReplaySettings(Section):
    kind: Literal["replay"] = "replay"
    files: tuple[str, ...] = Field(description="CSV, JSON lines or Parquet; globs and directories are taken")
    mapping: Mapping = Field(default_factory=Mapping)
    speed: str = Field(
        "recorded", description="`recorded`, `20x` (times faster), `500/s` (rows a second) or `max`"
    )
    loop: bool = Field(False, description="begin again at the end, with later times")
    sample: bool = Field(False, description="send random rows, one a second, as many tutorials do")
    seed: int = Field(1, description="of the random rows")


class SimulateSettings(Section):
    kind: Literal["simulate"] = "simulate"
    symbols: int = Field(24, ge=1, le=50_000, description="how many symbols trade")
    rate: float = Field(200, gt=0, description="trades a second over all symbols, on average")
    seed: int = Field(7, description="the same seed, the same market")
    quotes: bool = Field(True, description="quotes around the trades")
    duration_s: float | None = Field(None, gt=0, description="stop after this; unset: never")
    start: str | None = Field(
        None, description="simulate history from this ISO time on, as fast as possible; unset: now, live"
    )


class KafkaSourceSettings(Section):
    kind: Literal["kafka"] = "kafka"
    topic: str = Field(description="an existing topic with foreign JSON")
    bootstrap_servers: str | None = Field(None, description="its cluster, where it is another")
    mapping: Mapping = Field(default_factory=Mapping)
    mode: Literal["auto", "live", "historical"] = Field(
        "auto", description="auto: live when the first rows are younger than max_age"
    )


AnySource = Annotated[ReplaySettings | SimulateSettings | KafkaSourceSettings, Field(discriminator="kind")]


class StoreSettings(Section):
    """What every sink has."""

    enabled: bool = Field(False, description="store rows here")
    flush_s: float = Field(10, gt=0, description="rows are durable at the latest after this")
    flush_rows: int = Field(500_000, ge=1, description="… or when this many are waiting")


class S3Settings(Section):
    endpoint_url: str | None = Field(
        None, description="another S3 API than AWS's, such as a server of one's own"
    )
    region: str | None = Field(None, description="unset: as the usual AWS settings say")
    path_style: bool = Field(False, description="the bucket in the path, not in the host's name")
    timeout_s: float = Field(30, gt=0, description="how long the S3 API may take to answer a request")


class CatalogSettings(Section):
    """Where the lake's tables are registered."""

    kind: Literal["sqlite", "rest", "glue"] = Field(
        "sqlite",
        description="a file `catalog.db` beside the tables (in the data directory, when they lie on S3), an Iceberg REST "
        "catalogue, or AWS Glue",
    )
    uri: str | None = Field(
        None, description="the REST catalogue's address; another Glue endpoint than AWS's"
    )
    warehouse: str | None = Field(
        None, description="the REST catalogue's own name for the place of the tables"
    )
    namespace: str = Field(
        "marketpulse", pattern=r"^[a-z][a-z0-9_]*$", description="the tables' namespace; a database in Glue"
    )
    token: SecretStr | None = Field(
        None, description="of the REST catalogue; from the environment or `.env` only"
    )
    credential: SecretStr | None = Field(
        None,
        description="`client_id:client_secret` of the REST catalogue; from the environment or `.env` only",
    )


class LakeSettings(StoreSettings):
    enabled: bool = Field(True, description="keep Iceberg tables")
    url: str | None = Field(
        None, description="a directory, or s3://bucket/path; unset: `lake` in the data directory"
    )
    catalog: CatalogSettings = Field(default_factory=CatalogSettings)
    snapshots_s: float = Field(
        900, ge=60, description="older pictures of the tables are kept this long, beside the newest"
    )
    orphans_h: float = Field(
        6, ge=1, description="left-over files of interrupted commits are removed when they are this old"
    )
    file_mb: int = Field(64, ge=1, description="small files are merged until they are about this large")
    retention: dict[str, str] = Field(
        default_factory=dict,
        description="how many days of a table are kept, such as `30d`; tables that are not named keep all",
    )

    @field_validator("retention")
    @classmethod
    def _days(cls, value: dict[str, str]) -> dict[str, str]:
        for table, days in value.items():
            if EVENT_TIME_COLUMN.get(table) is None:
                known = ", ".join(name for name, time in EVENT_TIME_COLUMN.items() if time)
                raise ValueError(f"{table!r} has no retention: choose among {known}")
            if not re.fullmatch(r"[1-9][0-9]{0,5}d", days):
                raise ValueError(f"{table}: {days!r} is no number of days such as 30d")
        return value


class ArchiveSettings(StoreSettings):
    enabled: bool = Field(False, description="keep every row in plain files too")
    url: str | None = Field(
        None,
        description="a directory, s3://bucket/prefix or any fsspec URL; unset: `archive` in the data directory",
    )
    format: Literal["json-lines", "parquet"] = Field("json-lines", description="how rows stand in a file")
    layout: Literal["date", "symbol/date"] = Field(
        "date", description="a directory for each day of a table, or for each symbol's days"
    )
    flush_s: float = Field(60, gt=0, description="rows are durable at the latest after this")


InfluxTable = Literal["trades", "quotes", "bars", "indicators", "alerts"]


class InfluxSettings(StoreSettings):
    enabled: bool = Field(False, description="write points to InfluxDB, or to what speaks its line protocol")
    url: str = Field("http://127.0.0.1:8086", description="the server, without a login in it")
    api: Literal["auto", "v1", "v2", "v3"] = Field(
        "auto", description="which HTTP API it has; auto: what it says of itself, v1 where it says nothing"
    )
    database: str = Field("marketpulse", min_length=1, description="the database; in 2.x the bucket")
    org: str | None = Field(None, description="2.x: the organization that the bucket belongs to")
    token: SecretStr | None = Field(
        None, description="from the environment or .env only; INFLUX_TOKEN is understood too"
    )
    user: str | None = Field(None, description="1.x, or a proxy before the server: the login's name")
    password: SecretStr | None = Field(None, description="from the environment or .env only")
    retention: str | None = Field(
        None, pattern=r"^[1-9][0-9]*[hdw]$", description="how long a new database keeps points, such as 30d"
    )
    tables: tuple[InfluxTable, ...] = Field(
        ("bars", "indicators", "alerts"), min_length=1, description="what to write: see docs/influx.md"
    )
    trade_slots: int = Field(
        64, ge=1, le=65_536, description="series per symbol that keep trades of one nanosecond apart"
    )
    body_bytes_max: int = Field(
        4_000_000, ge=1_000, description="most bytes of text in one request, before it is compressed"
    )
    gzip: bool = Field(True, description="compress what is sent")
    timeout_s: float = Field(30, gt=0, description="time that one request may take")

    @field_validator("url")
    @classmethod
    def _without_login(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://host:port or https://host:port")
        if "@" in parts.netloc:
            raise ValueError("must hold no login: set user, and password or token in the environment")
        return value.rstrip("/")


class PostgresSettings(StoreSettings):
    enabled: bool = Field(False, description="keep typed tables in PostgreSQL")
    flush_s: float = Field(2, gt=0, description="rows are durable at the latest after this")
    flush_rows: int = Field(200_000, ge=1, description="… or when this many are waiting")
    url: str = Field(
        "postgresql://marketpulse@127.0.0.1:5432/marketpulse",
        description="the database, without a password; libpq's parameters such as ?sslmode=verify-full are understood",
    )
    password: SecretStr | None = Field(
        None,
        description="of the url's user; in `.env` or the environment, where PGPASSWORD is understood too",
    )
    schema_name: str = Field(
        "marketpulse",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="the schema that holds our tables",
    )
    partition: Literal["day", "week", "month"] = Field(
        "week", description="what one partition of a large table covers"
    )
    retention_days: dict[
        Literal["trades", "quotes", "events", "bars", "indicators", "alerts", "dead_letters"],
        Annotated[float, Field(gt=0)],
    ] = Field(
        default_factory=dict,
        description="rows of a table older than this many days are dropped, such as quotes = 7",
    )
    reader_role: str | None = Field(
        None,
        min_length=1,
        max_length=63,
        description="a role that may read everything and write nothing, for dashboards",
    )
    reader_password: SecretStr | None = Field(
        None, description="its password, where the sink creates the role; in `.env` or the environment"
    )
    timeout_s: float = Field(
        60, gt=0, description="a statement that takes longer is given up and tried again"
    )


_EXPIRE = re.compile(r"([1-9][0-9]*)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class RedisSettings(StoreSettings):
    enabled: bool = Field(False, description="keep the newest rows in Redis or Valkey, for fast readers")
    flush_s: float = Field(0.2, gt=0, description="rows are to be read at the latest after this")
    url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="the server; rediss:// for TLS, redis://user@host:6379/0 for a user other than `default`",
    )
    password: SecretStr | None = Field(
        None,
        description="of its user; from the environment or `.env` only: MARKETPULSE_SINKS__REDIS__PASSWORD",
    )
    prefix: str = Field("marketpulse:", min_length=1, description="put before every key and channel")
    recent_bars: int = Field(
        500,
        ge=1,
        le=100_000,
        description="bars kept of each symbol and timeframe, with their indicator values",
    )
    day_timeframe: str = Field(
        "1m", description="the day's figures and rankings follow these bars until the day's own bar is there"
    )
    expire: str = Field(
        "7d", description="what was not written for so long goes (90s, 15m, 12h, 7d), or `never`"
    )

    @field_validator("url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError(
                "a password does not belong into the url: take it out, and set MARKETPULSE_SINKS__REDIS__PASSWORD "
                "in the environment or in .env (a user's name may stay: redis://user@host)"
            )
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("begin it with redis://, rediss:// (TLS) or unix://")
        return value

    @field_validator("day_timeframe")
    @classmethod
    def _by_time(cls, value: str) -> str:
        if Timeframe.parse(value).cut is Cut.TICKS:
            raise ValueError("bars by time, such as 1m: bars by number of trades have no session")
        return value

    @field_validator("expire")
    @classmethod
    def _duration(cls, value: str) -> str:
        if value != "never" and not _EXPIRE.fullmatch(value):
            raise ValueError("a number and one of s, m, h, d, such as 7d, or never")
        return value

    @property
    def expire_s(self) -> int:
        """Seconds; 0: never."""
        found = _EXPIRE.fullmatch(self.expire)
        return int(found[1]) * _SECONDS[found[2]] if found else 0


class AwsSettings(Section):
    database: str = Field(
        "marketpulse",
        pattern=r"^[a-z][a-z0-9_]{0,127}$",
        description="the Glue database that the tables stand in",
    )
    table_prefix: str = Field(
        "", pattern=r"^[a-z0-9_]*$", description="put before the names of the archive's tables"
    )
    workgroup: str = Field(
        "marketpulse",
        pattern=r"^[a-zA-Z0-9._-]{1,128}$",
        description="the Athena workgroup that queries run in",
    )
    output_url: str | None = Field(
        None,
        pattern=r"^s3://",
        description="where Athena writes results; unset: `athena` beside the archive or the lake",
    )
    bytes_scanned_max: int = Field(
        10 * 1024**3, ge=10_000_000, description="a query that would read more is ended by Athena"
    )
    crawler: str = Field(
        "marketpulse",
        pattern=r"^[a-zA-Z0-9_-]{1,255}$",
        description="the Glue crawler that finds new days and symbols",
    )
    crawler_role: str | None = Field(
        None, description="the IAM role that it runs under, by name or ARN; unset: no crawler"
    )
    crawler_schedule: str | None = Field(
        None,
        pattern=r"^cron\(.+\)$",
        description="when it runs, in UTC, such as cron(15 0 * * ? *); unset: when it is started",
    )
    tags: dict[str, str] = Field(default_factory=dict, description="further tags, such as who pays")


class SinkSettings(Section):
    lake: LakeSettings = Field(default_factory=LakeSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    influx: InfluxSettings = Field(default_factory=InfluxSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)


class ParitySettings(Section):
    enabled: bool = Field(True, description="check stored rows against the log while `up` runs")
    every_s: float = Field(
        60, gt=0, description="seconds between two looks; the first comes after one of them"
    )
    cpu_percent: float = Field(5, gt=0, le=100, description="share of one core that the check may take")


class SqlSettings(Section):
    memory_limit_mb: int = Field(1_024, ge=64, description="memory that one query may use")
    timeout_s: float = Field(60, gt=0, description="time that one query may take")
    at_once: int = Field(2, ge=1, le=64, description="queries of the web API that run at once")
    waiting: int = Field(
        8, ge=0, le=1_000, description="queries that wait for that; more are told to come again"
    )
    rows_max: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="most rows in one answer of the web API; the next follow on asking",
    )


class AthenaSettings(Section):
    workgroup: str | None = Field(
        None, description="the workgroup whose limits and result place hold; unset: that of `aws`"
    )
    database: str | None = Field(None, description="the database of the tables; unset: that of `aws`")
    catalog: str = Field("AwsDataCatalog", description="the data catalogue that the database is in")
    output_location: str | None = Field(
        None, description="s3://bucket/prefix/ for results; unset: as the workgroup says"
    )
    timeout_s: float = Field(600, gt=0, description="time that one query may take there, waiting included")
    usd_per_tb: float = Field(5, ge=0, description="what your region asks, for the cost that is shown")
    endpoint_url: str | None = Field(
        None, description="another Athena API than AWS's, such as a private endpoint"
    )


class ServeSettings(Section):
    host: str = Field("127.0.0.1", description="the address that the page is served on")
    port: int = Field(8080, ge=0, le=65_535, description="the page's port; 0: a free one")
    allowed_hosts: tuple[str, ...] = Field((), description="Host names accepted beside the loopback ones")
    history_bars: int = Field(
        500, ge=10, le=10_000, description="bars per symbol and timeframe kept for the page"
    )
    frames_per_s: float = Field(10, gt=0, le=60, description="updates a second to each page, at most")
    first_picture: Literal["lake", "redis"] = Field(
        "lake", description="where a page that starts gets its bars from, before it follows the log"
    )


class TelemetrySettings(Section):
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="what goes to the log"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON"
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Prometheus and health port of this process; 0: a free one"
    )
