"""The sections of the stores: where rows come to rest, and what stands around them in AWS."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from marketpulse.model.timeframe import DAY_NS, Cut, Timeframe
from marketpulse.settings.sections import Section

TIMED_TABLES = ("trades", "quotes", "events", "bars", "indicators", "alerts")
"""Those of model.tables whose rows have a time. (Arrow is not imported for a list of names: it starts threads.)"""


class StoreSettings(Section):
    """What every sink has."""

    enabled: bool = Field(False, description="store rows here")
    flush_s: float = Field(10, gt=0, description="rows are durable at the latest after this")
    flush_rows: int = Field(500_000, ge=1, description="… or when this many are waiting")


class S3Settings(Section):
    endpoint_url: str | None = Field(None, description="another S3 API than AWS's, such as a server of one's own")
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
    uri: str | None = Field(None, description="the REST catalogue's address; another Glue endpoint than AWS's")
    warehouse: str | None = Field(None, description="the REST catalogue's own name for the place of the tables")
    namespace: str = Field(
        "marketpulse", pattern=r"^[a-z][a-z0-9_]*$", description="the tables' namespace; a database in Glue"
    )
    token: SecretStr | None = Field(None, description="of the REST catalogue; from the environment or `.env` only")
    credential: SecretStr | None = Field(
        None, description="`client_id:client_secret` of the REST catalogue; from the environment or `.env` only"
    )


_FOREVER = 1_000_000  # days: more than can be written


def _days_of(text: str) -> int:
    return _FOREVER if text == "forever" else int(text.removesuffix("d"))


_RETENTION = {"bars@1s": "7d", "indicators@1s": "7d"}
"""Half of what a lake grows by, and made of trades, which stay."""


class LakeSettings(StoreSettings):
    enabled: bool = Field(True, description="keep Iceberg tables")
    url: str | None = Field(None, description="a directory, or s3://bucket/path; unset: `lake` in the data directory")
    catalog: CatalogSettings = Field(default_factory=CatalogSettings)
    snapshots_s: float = Field(
        900, ge=60, description="older pictures of the tables are kept this long, beside the newest"
    )
    orphans_h: float = Field(
        6, ge=1, description="left-over files of interrupted commits are removed when they are this old"
    )
    file_mb: int = Field(64, ge=1, description="small files are merged until they are about this large")
    retention: dict[str, str] = Field(
        default_factory=lambda: dict(_RETENTION), validate_default=True,
        description="how many days of a table, or of a timeframe of `bars` and `indicators` (`bars@1s`), are kept, such as "
        "`30d`, or `forever`; what is not named here and in the default keeps all",
    )  # fmt: skip

    @field_validator("retention")
    @classmethod
    def _days(cls, value: dict[str, str]) -> dict[str, str]:
        for key, days in value.items():
            table, at, timeframe = key.partition("@")
            if table not in TIMED_TABLES:
                raise ValueError(f"{table!r} has no retention: choose among {', '.join(TIMED_TABLES)}")
            if at and table not in ("bars", "indicators"):
                raise ValueError(f"{key}: of {table} no timeframe can be named, only of bars and indicators")
            if at:
                Timeframe.parse(timeframe)
            if days != "forever" and not re.fullmatch(r"[1-9][0-9]{0,5}d", days):
                raise ValueError(f"{key}: {days!r} is no number of days such as 30d, and not forever")
        for key, days in value.items():
            table = key.partition("@")[0]
            if _days_of(days) > _days_of(value.get(table, "forever")):
                raise ValueError(f"{key} cannot be kept longer than {table}, which is kept {value[table]}")
        return {**_RETENTION, **value}

    def kept_since(self, table: str, now_ns: int) -> dict[str | None, int]:
        """The first time (ns) of a table that is kept, by timeframe (None: of all); nothing of what is kept for ever."""
        today, found = now_ns // DAY_NS, {}
        for key, days in self.retention.items():
            name, _, timeframe = key.partition("@")
            if name == table and days != "forever":
                found[timeframe or None] = (today - _days_of(days)) * DAY_NS
        return found

    def describe_retention(self) -> str:
        """`"bars@1s 7 days, all else for ever"`."""
        days = {key: _days_of(days) for key, days in self.retention.items() if days != "forever"}
        said = [f"{key} {n} day{'s' if n > 1 else ''}" for key, n in days.items()]
        return ", ".join([*said, "all else for ever"] if said else ["all for ever"])


class ArchiveSettings(StoreSettings):
    enabled: bool = Field(False, description="keep every row in plain files too")
    url: str | None = Field(
        None, description="a directory, s3://bucket/prefix or any fsspec URL; unset: `archive` in the data directory"
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
        ("bars", "indicators", "alerts"), min_length=1, description="what to write: see docs/stores.md#influxdb"
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
        None, description="of the url's user; in `.env` or the environment, where PGPASSWORD is understood too"
    )
    schema_name: str = Field(
        "marketpulse", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="the schema that holds our tables"
    )
    partition: Literal["day", "week", "month"] = Field("week", description="what one partition of a large table covers")
    retention_days: dict[
        Literal["trades", "quotes", "events", "bars", "indicators", "alerts", "dead_letters"],
        Annotated[float, Field(gt=0)],
    ] = Field(
        default_factory=dict, description="rows of a table older than this many days are dropped, such as quotes = 7"
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
    timeout_s: float = Field(60, gt=0, description="a statement that takes longer is given up and tried again")


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
        None, description="of its user; from the environment or `.env` only: MARKETPULSE_SINKS__REDIS__PASSWORD"
    )
    prefix: str = Field("marketpulse:", min_length=1, description="put before every key and channel")
    recent_bars: int = Field(
        500, ge=1, le=100_000, description="bars kept of each symbol and timeframe, with their indicator values"
    )
    day_timeframe: str = Field(
        "1m", description="the day's figures and rankings follow these bars until the day's own bar is there"
    )
    expire: str = Field("7d", description="what was not written for so long goes (90s, 15m, 12h, 7d), or `never`")

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
        "marketpulse", pattern=r"^[a-z][a-z0-9_]{0,127}$", description="the Glue database that the tables stand in"
    )
    table_prefix: str = Field("", pattern=r"^[a-z0-9_]*$", description="put before the names of the archive's tables")
    workgroup: str = Field(
        "marketpulse", pattern=r"^[a-zA-Z0-9._-]{1,128}$", description="the Athena workgroup that queries run in"
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
        "marketpulse", pattern=r"^[a-zA-Z0-9_-]{1,255}$", description="the Glue crawler that finds new days and symbols"
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
    endpoint_url: str | None = Field(None, description="another Athena API than AWS's, such as a private endpoint")


class SinkSettings(Section):
    lake: LakeSettings = Field(default_factory=LakeSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    influx: InfluxSettings = Field(default_factory=InfluxSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
