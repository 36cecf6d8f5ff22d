"""Write docs/settings.md, marketpulse.example.toml and .env.example from the settings themselves.

    .venv/bin/python docs/write_settings.py            (or: make docs)

A test fails when they are not what this would write, so a setting cannot go undocumented.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from marketpulse.settings import (
    AlpacaSettings,
    AlphaVantageSettings,
    BinanceSettings,
    CoinbaseSettings,
    FinnhubBarsSettings,
    FinnhubSettings,
    HttpSettings,
    KafkaSourceSettings,
    PolygonSettings,
    RecordingSettings,
    ReplaySettings,
    RestSettings,
    Section,
    Settings,
    SimulateSettings,
    StdinSettings,
    YahooSettings,
)

ROOT = Path(__file__).resolve().parent.parent

EXAMPLES: dict[str, Any] = {
    "data_dir": "/srv/marketpulse",
    "cache_dir": "/var/cache/marketpulse",
    "kafka.bootstrap_servers": "kafka-1:9092,kafka-2:9092",
    "kafka.client": {"linger.ms": 5, "security.protocol": "SASL_SSL"},
    "kafka.producer.compression": "zstd",
    "kafka.producer.linger_ms": 5,
    "kafka.producer.batch_bytes": 16384,
    "kafka.producer.properties": {"buffer.memory": 33554432, "max.block.ms": 60000},
    "kafka.consumer": {"session.timeout.ms": 10000},
    "broker.heap_opts": "-Xmx512m -Xms256m",
    "broker.properties": {"num.network.threads": 3, "log.retention.hours": 48},
    "broker.java": "/usr/lib/jvm/java-21/bin/java",
    "engine.venue_calendars": {"IEXG": "XNYS"},
    "failover.groups": {"us": {"sources": ["alpaca", "finnhub"]}},
    "engine.alerts": [{"name": "dip", "expression": "rsi_14 < 30", "timeframe": "5m"}],
    "engine.extended_hours": {"XNYS": ["04:00", "20:00"]},
    "sinks.lake.url": "s3://my-bucket/marketpulse/lake",
    "sinks.lake.catalog.uri": "https://catalog.example.org",
    "sinks.lake.catalog.warehouse": "market",
    "sinks.lake.retention": {"quotes": "30d"},
    "sinks.archive.url": "/mnt/archive",
    "sinks.influx.org": "trading",
    "sinks.influx.user": "marketpulse",
    "sinks.influx.retention": "30d",
    "sinks.postgres.retention_days": {"quotes": 7, "trades": 90},
    "sinks.postgres.reader_role": "dashboards",
    "s3.endpoint_url": "http://127.0.0.1:9000",
    "athena.workgroup": "analysts",
    "athena.database": "marketpulse",
    "athena.output_location": "s3://my-bucket/athena-results/",
    "athena.endpoint_url": "https://vpce-0a1b.athena.eu-central-1.vpce.amazonaws.com",
    "s3.region": "eu-central-1",
    "aws.output_url": "s3://my-bucket/athena/",
    "aws.crawler_role": "marketpulse-crawler",
    "aws.crawler_schedule": "cron(15 0 * * ? *)",
    "aws.tags": {"team": "markets"},
    "serve.allowed_hosts": ["market.example.org"],
    "files": ["data/*.csv"],
    "topic": "stock-prices",
    "bootstrap_servers": "other-cluster:9092",
    "create": True,
    "schema_registry": "http://127.0.0.1:8081",
    "registry_user": "marketpulse",
    "schema_file": "tick.avsc",
    "duration_s": 600,
    "next": "meta.next_cursor",
    "page_rows": 1_000,
    "span_days": 7,
    "requests_per_second": 5,
    "requests_per_day": 500,
    "every_s": 60,
    "record": "/var/lib/marketpulse/recordings",
    "venue": "XNYS",
    "symbol": "BTC-USD",
    "start": "2026-01-05T14:30:00Z",
    "mapping.split_adjusted": True,
    "mapping.extra_columns": True,
    "mapping.columns": {"price": "last", "size": "qty"},
    "mapping.symbol": "AAPL",
    "mapping.venue": "XNYS",
    "mapping.time_format": "%d.%m.%Y %H:%M:%S",
    "mapping.timeframe": "1m",
}
"""What an unset or empty setting may look like, by its place."""

REQUIRED: dict[str, Any] = {
    "symbols": ["IBM", "BRK.B"],
    "url": "https://api.vendor.com/v1/bars/{symbol}?from={since:s}&to={until:s}&cursor={cursor}",
}
"""The same for settings that one kind of source needs, and another has a default for."""

SOURCES: tuple[tuple[str, type[Section], str], ...] = (
    ("my-files", ReplaySettings, "files of trades, quotes or bars"),
    ("my-market", SimulateSettings, "a simulated market"),
    ("my-topic", KafkaSourceSettings, "a topic with foreign JSON or Avro"),
    ("alpha_vantage", AlphaVantageSettings, "bars of Alpha Vantage, asked by REST"),
    ("yahoo", YahooSettings, "bars of Yahoo's chart API, asked by REST"),
    ("finnhub_bars", FinnhubBarsSettings, "bars of Finnhub, asked by REST; needs a key"),
    ("any-vendor", RestSettings, "rows of any vendor that answers by REST"),
    ("push", HttpSettings, "rows that others push by HTTP"),
    ("coinbase", CoinbaseSettings, "trades and quotes of Coinbase, as they happen"),
    ("binance", BinanceSettings, "trades and quotes of Binance, as they happen"),
    ("alpaca", AlpacaSettings, "trades, quotes or bars of Alpaca, as they happen; needs a key"),
    ("polygon", PolygonSettings, "the same of Polygon, now called Massive"),
    ("finnhub", FinnhubSettings, "trades of Finnhub; needs a key"),
    ("incident", RecordingSettings, "recorded messages of such a feed"),
    ("pipe", StdinSettings, "rows on standard input; for `produce`, not for `up`"),
)


INTRODUCTION = """\
# Settings

Written by `make docs` from `src/marketpulse/settings/`; a test fails when the two differ.

`marketpulse.toml` < the environment and `.env` < the command line. In the environment a setting is
`MARKETPULSE_` and its name, sections joined by two underscores: `kafka.partitions` is
`MARKETPULSE_KAFKA__PARTITIONS`. In a source's name all but letters and digits is an underscore there: `mapping.timeframe`
of `[sources.stock-prices]` is `MARKETPULSE_SOURCES__STOCK_PRICES__MAPPING__TIMEFRAME`, and `price` of its `mapping.columns`
`MARKETPULSE_SOURCES__STOCK_PRICES__MAPPING__COLUMNS__PRICE`. `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_TOPIC`, `KAFKA_HEAP_OPTS`, `AWS_S3_BUCKET`, `API_KEY` (Alpha Vantage's),
`APCA_API_KEY_ID`, `APCA_API_SECRET_KEY`, `POLYGON_API_KEY`, `MASSIVE_API_KEY`, `FINNHUB_API_KEY`,
`INFLUX_TOKEN` and `PGPASSWORD` are understood too. Secrets are read from the environment or `.env` only; in the file they are refused.

A wrong setting ends `up` with exit code 2 before anything starts: `marketpulse.toml:12: kafka.partition: there is no such
setting: did you mean partitions?`. Of a variable its name is given, of `.env` the line.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the tree: its place below its section, and what it is."""

    name: str
    field: FieldInfo

    @property
    def default(self) -> Any:
        if self.field.default_factory is not None:
            return self.field.default_factory()  # type: ignore[call-arg]
        return self.field.default

    @property
    def secret(self) -> bool:
        """Whether the file must not hold it."""
        return SecretStr in get_args(self.field.annotation)

    @property
    def example(self) -> Any:
        """The default, or where there is none to show, a value that could stand there."""
        default = self.default
        if default is PydanticUndefined and self.name in REQUIRED:
            return REQUIRED[self.name]
        if self.name in EXAMPLES or default in (None, PydanticUndefined):
            return EXAMPLES[self.name]
        return default


def leaves(model: type[BaseModel], place: str = "") -> Iterator[Setting]:
    """Every setting below a section, sections inside it included."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if (name == "kind" and place == " ") or (place == "" and name == "sources"):
            continue
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{place}{name}.")
        else:
            yield Setting(place + name, field)


def sections() -> Iterator[tuple[str, list[Setting]]]:
    """The tree's sections by name, the settings outside any section first."""
    grouped: dict[str, list[Setting]] = {}
    for setting in leaves(Settings):
        grouped.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    yield from sorted(grouped.items(), key=lambda item: item[0] != "")


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if value == {}:
        return "{}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {toml(v)}' for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


def shown_default(setting: Setting) -> str:
    default = setting.default
    if setting.name in ("data_dir", "cache_dir"):
        return f"the user's {setting.name.removesuffix('_dir')} directory"
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "unset"
    return f"`{toml(default)}`"


def values_of(setting: Setting) -> str:
    """The choices of a setting that has some, and the bounds of a number."""
    options = [option for option in get_args(setting.field.annotation) if isinstance(option, str)]
    if options:
        return " (" + ", ".join(f"`{option}`" for option in options) + ")"
    bounds = [
        f"{words} {getattr(rule, key)}"
        for rule in setting.field.metadata
        for key, words in (("ge", "from"), ("gt", "above"), ("le", "to"))
        if getattr(rule, key, None) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def table(settings: list[Setting], strip: str = "") -> str:
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for setting in settings:
        meaning = f"{setting.field.description}{values_of(setting)}".replace("|", "\\|")
        rows.append(f"| `{setting.name.removeprefix(strip)}` | {shown_default(setting)} | {meaning} |")
    return "\n".join(rows) + "\n"


def settings_page() -> str:
    """docs/settings.md."""
    parts = [INTRODUCTION]
    for section, settings in sections():
        title = f"`[{section}]`" if section else "Outside any section"
        parts.append(f"## {title}\n\n" + table(settings, f"{section}." if section else ""))
    parts.append(
        "## `[sources.NAME]`\n\nWhat `marketpulse up` and `marketpulse produce NAME` feed in; `kind` says what it is.\n"
        "Without any, `up` feeds in the bundled data and the simulator.\n"
    )
    for _, model, what in SOURCES:
        kind = model.model_fields["kind"].default
        parts.append(f'### `kind = "{kind}"`: {what}\n\n' + table(list(leaves(model, " ")), " "))
    return "\n".join(parts)


def example_toml() -> str:
    """marketpulse.example.toml: every setting, commented out, with its default or an example."""
    lines = [
        "## Copy to marketpulse.toml and take the # off what you want to change (## only explains). Every",
        "## setting is here with its default, or where it has none with an example. Secrets do not belong",
        "## here: see .env.example.",
    ]
    for section, every in sections():
        settings = [setting for setting in every if not setting.secret]
        if settings:
            lines += ["", f"# [{section}]"] if section else [""]
        for setting in settings:
            lines += setting_lines(setting, f"{section}." if section else "")
    for name, model, what in SOURCES:
        kind = model.model_fields["kind"].default
        lines += ["", f"## {what}", f"# [sources.{name}]", f'# kind = "{kind}"']
        for setting in leaves(model, " "):
            if setting.secret:
                continue
            lines += setting_lines(Setting(setting.name.strip(), setting.field), "")
    return "\n".join(lines) + "\n"


def setting_lines(setting: Setting, strip: str) -> list[str]:
    return [
        f"## {setting.field.description}{values_of(setting)}",
        f"# {setting.name.removeprefix(strip)} = {toml(setting.example)}",
    ]


def env_example() -> str:
    """.env.example: what belongs into the environment."""
    return """\
# Copy to .env. What stands here wins over marketpulse.toml; the process's own environment wins over this.

## Where everything that is written goes (default: the user's data directory)
# MARKETPULSE_DATA_DIR=/srv/marketpulse

## An existing Kafka cluster instead of the embedded broker
# KAFKA_BOOTSTRAP_SERVERS=kafka-1:9092,kafka-2:9092

## Its login. Secrets belong here, never into marketpulse.toml
# MARKETPULSE_KAFKA__CLIENT='{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me", "sasl.password": "…"}'

## What the page and the API ask for, once serve.host lets other machines reach them; 20 characters or more
# MARKETPULSE_SERVE__TOKEN=

## The password of the Redis or Valkey that sinks.redis.url names
# MARKETPULSE_SINKS__REDIS__PASSWORD=…

## The embedded broker's heap, as Kafka's own scripts have it; broker.heap_mb goes before it
# KAFKA_HEAP_OPTS="-Xmx1G -Xms512m"

## A topic with foreign JSON to feed in, or several: stock-prices,ticks
# KAFKA_TOPIC=stock-prices
## What its rows are, where `marketpulse inspect stock-prices` shows that this was understood otherwise
# MARKETPULSE_SOURCES__STOCK_PRICES__MAPPING__TIMEZONE=America/New_York
# MARKETPULSE_SOURCES__STOCK_PRICES__MAPPING__COLUMNS__PRICE=last

## The key of Alpha Vantage (sources of kind "alpha_vantage"), and what those must have who push rows to a source of
## kind "http" that is called push; 20 characters or more
# API_KEY=…
# MARKETPULSE_SOURCES__PUSH__TOKEN=

## The keys of the live feeds that need one
# APCA_API_KEY_ID=…
# APCA_API_SECRET_KEY=…
# POLYGON_API_KEY=…
# FINNHUB_API_KEY=…

## A bucket for the lake and the archive (needs the usual AWS credentials)
# AWS_S3_BUCKET=my-bucket

## The login to the lake's REST catalogue: one of the two
# MARKETPULSE_SINKS__LAKE__CATALOG__TOKEN=…
# MARKETPULSE_SINKS__LAKE__CATALOG__CREDENTIAL=client_id:client_secret

## The login of InfluxDB: a token (2.x, 3.x), or the password of sinks.influx.user (1.x)
# INFLUX_TOKEN=…
# MARKETPULSE_SINKS__INFLUX__PASSWORD=…
## The login of PostgreSQL (its user stands in sinks.postgres.url), and of the role for dashboards
# MARKETPULSE_SINKS__POSTGRES__PASSWORD=…
# MARKETPULSE_SINKS__POSTGRES__READER_PASSWORD=…

## Any setting of docs/settings.md, its sections joined by two underscores
# MARKETPULSE_SERVE__PORT=9000
# MARKETPULSE_ENGINE__TIMEFRAMES='["1m", "1h", "1d"]'
"""


def pages() -> dict[Path, str]:
    return {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "marketpulse.example.toml": example_toml(),
        ROOT / ".env.example": env_example(),
    }


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
