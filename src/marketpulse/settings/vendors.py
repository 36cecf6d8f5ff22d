"""Sources that ask a vendor, and sources that are handed rows: their settings. Keys come from the environment only."""

import re
from datetime import time
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from marketpulse.errors import SettingsError
from marketpulse.settings.layers import environment
from marketpulse.settings.sections import KafkaSourceSettings, Mapping, ReplaySettings, Section, SimulateSettings
from marketpulse.settings.streams import (
    AlpacaSettings,
    BinanceSettings,
    CoinbaseSettings,
    FinnhubSettings,
    PolygonSettings,
    RecordingSettings,
)

Symbol = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[!-~]{1,32}$")]
Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]

_SYMBOLS_MAX = 400  # of one source: where each of them stands has to fit into one commit


class KeySettings(Section):
    alpha_vantage: SecretStr | None = Field(
        None,
        description="Alpha Vantage's key; `API_KEY` and `ALPHA_VANTAGE_API_KEY` are understood too; from the environment or `.env` only",
    )
    alpaca: SecretStr | None = Field(
        None, description="Alpaca's key id; `APCA_API_KEY_ID` is understood too; from the environment or `.env` only"
    )
    alpaca_secret: SecretStr | None = Field(
        None, description="its secret; `APCA_API_SECRET_KEY` is understood too; from the environment or `.env` only"
    )
    polygon: SecretStr | None = Field(
        None,
        description="Polygon's (Massive's) key; `POLYGON_API_KEY` and `MASSIVE_API_KEY` are understood too; from the "
        "environment or `.env` only",
    )
    finnhub: SecretStr | None = Field(
        None, description="Finnhub's key; `FINNHUB_API_KEY` is understood too; from the environment or `.env` only"
    )


class PolledSettings(Section):
    symbols: tuple[Symbol, ...] = Field(
        min_length=1,
        max_length=_SYMBOLS_MAX,
        description="what to ask for; of share classes BRK.B, BRK-B and BRK/B are one",
    )
    every_s: float | None = Field(
        None, gt=0, description="seconds between two questions for a symbol; unset: one interval, at most an hour"
    )
    settle_s: float = Field(
        15, ge=0, description="how long a bar that has closed is left to the vendor before it is taken"
    )
    delay_s: float = Field(
        1_200, ge=0, description="how far the vendor may be behind: only then is its newest bar surely closed"
    )
    timeout_s: float = Field(20, gt=0, description="how long an answer may take")

    @field_validator("symbols")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a symbol stands in it twice")
        return value


class AlphaVantageSettings(PolledSettings):
    kind: Literal["alpha_vantage"] = "alpha_vantage"
    function: Literal["quote", "intraday", "daily", "daily_adjusted"] = Field(
        "daily",
        description="GLOBAL_QUOTE (the day's bar, once the day is over), TIME_SERIES_INTRADAY, TIME_SERIES_DAILY or, of a paid "
        "plan, TIME_SERIES_DAILY_ADJUSTED",
    )
    interval: Literal["1min", "5min", "15min", "30min", "60min"] = Field(
        "5min", description="of intraday bars; the engine has to build that timeframe"
    )
    history: Literal["compact", "full"] = Field(
        "compact",
        description="the newest 100 bars at the start and after a pause, or all; the latter may need a paid plan",
    )
    extended_hours: bool = Field(False, description="intraday bars of the pre- and post-market too")
    label: Literal["open", "close"] = Field(
        "open", description="what an intraday bar's time is; answers recorded before 2021 have the close"
    )
    corporate_actions: bool = Field(
        False,
        description="splits and dividends, once a day: two of the day's requests for each symbol, one with daily_adjusted",
    )
    news: bool = Field(False, description="news of the symbols: a request for each in every round")
    news_every_s: float = Field(21_600, ge=10, description="how often it is asked for news of all symbols")
    venue: str | None = Field(None, description="the symbols' venue (MIC), which this vendor does not tell")
    requests_per_minute: int = Field(5, ge=1, description="what the plan allows; never more are asked")
    requests_per_day: int | None = Field(25, ge=1, description="what the plan allows; unset: no limit")
    spread: tuple[Clock, Clock] = Field(
        ("09:30", "16:30"), description="the day's requests are spread over these hours of New York"
    )
    base_url: str = Field("https://www.alphavantage.co", description="where it is asked")

    @field_validator("spread")
    @classmethod
    def _opens_first(cls, value: tuple[str, str]) -> tuple[str, str]:
        if time.fromisoformat(value[0]) >= time.fromisoformat(value[1]):
            raise ValueError("the first hour comes before the second")
        return value


class YahooSettings(PolledSettings):
    kind: Literal["yahoo"] = "yahoo"
    interval: Literal["1m", "5m", "15m", "30m", "1h", "1d"] = Field(
        "1m", description="of the bars; the engine has to build that timeframe"
    )
    history: str = Field(
        "1d",
        description="what is fetched before the first bar, such as 1d, 5d, 1mo, 1y or max; 1m bars reach back 7 days",
    )
    extended_hours: bool = Field(False, description="bars of the pre- and post-market too")
    corporate_actions: bool = Field(True, description="splits and dividends, asked for at the start and once a day")
    requests_per_minute: int = Field(60, ge=1, description="never more are asked")
    base_url: str = Field("https://query1.finance.yahoo.com", description="where it is asked")

    @field_validator("history")
    @classmethod
    def _range(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9]\d{0,3}(d|wk|mo|y)|ytd|max", value):
            raise ValueError("write a range such as 1d, 5d, 1mo, 6mo, 1y, ytd or max")
        return value


class FinnhubBarsSettings(PolledSettings):
    kind: Literal["finnhub_bars"] = "finnhub_bars"
    interval: Literal["1m", "5m", "15m", "30m", "1h", "1d"] = Field(
        "1d", description="of the bars; the engine has to build that timeframe"
    )
    history_days: int = Field(30, ge=1, description="what is fetched before the first bar")
    venue: str | None = Field(None, description="the symbols' venue (MIC), which this vendor does not tell")
    requests_per_minute: int = Field(60, ge=1, description="what the plan allows; never more are asked")
    base_url: str = Field("https://finnhub.io", description="where it is asked")


REST_PLACE = re.compile(r"\$\{(\w+)\}|\{(\w*)(?::([^{}]*))?\}")
"""`${VARIABLE}` of the environment, or `{place}` and `{place:format}`, in a URL or a parameter."""
_REST_PLACES = ("symbol", "symbols", "since", "until", "page", "offset", "cursor")
_REST_TIMES = ("", "iso", "date", "s", "ms", "us", "ns")
_SECRET_LENGTH_MIN = 4  # it is hidden wherever it stands, and shorter texts stand in prices too
_SECRET_HEADER = re.compile(r"key|token|secret|password|auth|cookie", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"(api|access|auth|app|secret)?[-_]?(key|token|secret|password|signature)", re.IGNORECASE
)


class RestSettings(PolledSettings):
    """Any vendor that answers a GET.

    [sources.vendor]
    kind = "rest"
    url = "https://api.vendor.com/v1/bars/{symbol}?from={since:s}"
    symbols = ["AAPL"]
    headers = { "X-Api-Key" = "${VENDOR_KEY}" }
    rows = "data.bars"
    """

    kind: Literal["rest"] = "rest"
    url: str = Field(
        description="what is asked, with `{symbol}` (or `{symbols}`: all in one question), `{since}`, `{until}`, `{page}`, `{offset}`, "
        "`{cursor}`; times are written as `{since:s}`, `ms`, `us`, `ns`, `iso` (as without a format), `date` or a strftime format; "
        "`${NAME}` is a variable of the environment or of `.env`"
    )
    symbols: tuple[Symbol, ...] = Field(
        min_length=1, max_length=200, description="what to ask for, each as the vendor writes it"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="headers of each request; a key is written as `${NAME}`, and only so"
    )
    parameters: dict[str, str] = Field(
        default_factory=dict, description="more parameters of the URL, with the same places; keys as in headers"
    )
    answer: Literal["json", "csv"] = Field("json", description="what the vendor answers")
    rows: str | tuple[str, ...] = Field(
        "", description="where the rows lie in the answer: names and numbers with dots between them, or a list of names; `{symbol}` is "
        "the symbol, `*` every name of an object keyed by symbol or time, or every element; empty: the answer itself",
    )  # fmt: skip
    columns: tuple[str, ...] = Field((), description="names for the cells of rows that are arrays")
    mapping: Mapping = Field(default_factory=Mapping)
    next: str | None = Field(
        None, description="where the answer has the next page's URL, or what `{cursor}` stands for; `Link` headers are followed without"
    )  # fmt: skip
    first_page: int = Field(1, ge=0, description="what `{page}` begins with")
    page_rows: int | None = Field(
        None, ge=2, description="most rows of an answer: one with fewer is the last page; without pages, one that is full is followed "
        "by a question for what comes behind its newest row",
    )  # fmt: skip
    history_days: float = Field(30, ge=0, le=36_500, description="what is fetched before the first row")
    span_days: float | None = Field(
        None, gt=0, description="most days from `{since}` to `{until}` in one question; unset: all in one"
    )
    requests_per_second: int | None = Field(None, ge=1, description="what the plan allows; never more are asked")
    requests_per_minute: int | None = Field(60, ge=1, description="the same of a minute")
    requests_per_day: int | None = Field(
        None, ge=1, description="the same of a day in UTC: half of them at any time, the others evenly over the day"
    )

    @model_validator(mode="after")
    def _possible(self) -> "RestSettings":
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "{" in parts.netloc:
            raise ValueError("url begins with https:// and a host without {}")
        if parts.username or parts.password:
            raise ValueError('url has a login in it: write it as a header, Authorization = "Basic ${NAME}"')
        places = self.places()
        for name, how in places:
            if name not in _REST_PLACES:
                raise ValueError(
                    f"{{{name}}} is unknown: there is {', '.join(f'{{{place}}}' for place in _REST_PLACES)}"
                )
            if how not in _REST_TIMES and "%" not in how:
                raise ValueError(f"{{{name}:{how}}}: times are written as {', '.join(_REST_TIMES[1:])} or as %Y%m%d")
        names = {name for name, _ in places}
        if {"symbol", "symbols"} <= names:
            raise ValueError("write {symbol} or {symbols}, not both")
        if self.span_days is not None and not {"since", "until"} <= names:
            raise ValueError("span_days needs {since} and {until}")
        if "cursor" in names and self.next is None:
            raise ValueError("{cursor} needs next: where the answer has it")
        secrets = [name for name, value in self.headers.items() if _SECRET_HEADER.search(name) and "${" not in value]
        for name, value in (*self.parameters.items(), *query_of(self.url)):
            if _SECRET_PARAMETER.fullmatch(name) and "${" not in value and "{cursor}" not in value:
                secrets.append(name)
        for name in secrets:
            raise ValueError(
                f"{name} is a secret: write ${{NAME}} in its place, and set NAME in the environment or in .env"
            )
        return self

    def places(self) -> list[tuple[str, str]]:
        """(name, format) of each place in the URL and the parameters."""
        texts = (self.url, *self.parameters.values())
        return [(m[2], m[3] or "") for text in texts for m in REST_PLACE.finditer(text) if m[1] is None]

    def read_variables(self, source: str) -> dict[str, str]:
        """The variables of the environment that it names. Raises SettingsError, without any value in it."""
        texts = (self.url, *self.parameters.values(), *self.headers.values())
        named = {m[1] for text in texts for m in REST_PLACE.finditer(text) if m[1] is not None}
        there = {name: value.strip() for name, value in environment().items() if name in named}
        for name in sorted(named):
            if not there.get(name):
                raise SettingsError(
                    f"{source} needs the variable {name}, and there is none: set it in the environment or in `.env`"
                )
            if len(there[name]) < _SECRET_LENGTH_MIN or not there[name].isascii() or not there[name].isprintable():
                raise SettingsError(
                    f"the variable {name} of {source} has less than {_SECRET_LENGTH_MIN} characters, or some that no header can "
                    "have: correct it in the environment or in `.env`; what is no secret belongs into the settings as it is"
                )
        return there


def query_of(url: str) -> list[tuple[str, str]]:
    """The parameters that a URL carries, as they are written there."""
    pairs = (pair.partition("=") for pair in url.partition("?")[2].split("&") if pair)
    return [(name, value) for name, _, value in pairs]


class HttpSettings(Section):
    kind: Literal["http"] = "http"
    host: Literal["127.0.0.1", "::1", "localhost"] = Field("127.0.0.1", description="the address that it listens on")
    port: int = Field(8090, ge=0, le=65_535, description="the port; 0: a free one")
    token: SecretStr | None = Field(None, description="who pushes must have it; from the environment or `.env` only")
    mapping: Mapping = Field(default_factory=Mapping)
    mode: Literal["live", "historical"] = Field(
        "live", description="live: rows are as old as the log's clock says; historical: their own times are the clock"
    )
    body_bytes: int = Field(8_388_608, ge=1_024, le=268_435_456, description="most bytes in one request")
    waiting_bytes: int = Field(
        33_554_432, ge=1_024, description="most bytes of requests that wait for the log; more are told to come again"
    )
    answer_s: float = Field(
        30, gt=0, description="how long a request waits for the log before it is told to come again"
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


class StdinSettings(Section):
    kind: Literal["stdin"] = "stdin"
    mapping: Mapping = Field(default_factory=Mapping)
    mode: Literal["live", "historical"] = Field(
        "live", description="live: rows are as old as the log's clock says; historical: their own times are the clock"
    )


AnySource = Annotated[
    ReplaySettings
    | SimulateSettings
    | KafkaSourceSettings
    | AlphaVantageSettings
    | YahooSettings
    | FinnhubBarsSettings
    | RestSettings
    | HttpSettings
    | StdinSettings
    | CoinbaseSettings
    | BinanceSettings
    | AlpacaSettings
    | PolygonSettings
    | FinnhubSettings
    | RecordingSettings,
    Field(discriminator="kind"),
]
