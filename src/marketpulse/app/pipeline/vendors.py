"""Opens the sources of vendors that have a key, a rate or a calendar: its protocol, its key, its limits."""

from collections.abc import Callable

from pydantic import SecretStr

from marketpulse.app.trading_hours import open_between
from marketpulse.clock import Clock
from marketpulse.errors import SettingsError
from marketpulse.settings import (
    AlpacaSettings,
    AlphaVantageSettings,
    FinnhubBarsSettings,
    FinnhubSettings,
    KeySettings,
    PolledSettings,
    PolygonSettings,
    Settings,
    YahooSettings,
)
from marketpulse.sources import alpha_vantage, finnhub_bars, yahoo
from marketpulse.sources.rest import Budget, Key, RestClient, budget_file
from marketpulse.sources.rest.polled import PolledSource, Vendor
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import TIMED


def open_polled(
    settings: Settings,
    chosen: AlphaVantageSettings | YahooSettings | FinnhubBarsSettings,
    source: str,
    clock: Clock,
    alive: Callable[[], None],
) -> PolledSource:
    """Raises SettingsError when the key is missing, or when the engine does not build the vendor's bars."""
    if isinstance(chosen, AlphaVantageSettings):
        return _alpha_vantage(settings, chosen, source, clock, alive)
    if isinstance(chosen, FinnhubBarsSettings):
        return _finnhub_bars(settings, chosen, source, clock, alive)
    vendor = yahoo.Yahoo(chosen)
    _check_timeframe(settings, vendor)
    client = RestClient(
        source, chosen.base_url, yahoo.rate(chosen), judge=yahoo.judge, headers=yahoo.HEADERS,
        timeout_s=chosen.timeout_s, clock=clock, alive=alive,
    )  # fmt: skip
    return _polled(vendor, client, chosen, source, clock, alive)


def open_timed(
    settings: Settings, chosen: AlpacaSettings | PolygonSettings | FinnhubSettings, source: str, clock: Clock
) -> TimedSource:
    """A feed that needs a key. Raises SettingsError when it is missing, or the calendar is unknown."""
    vendor = TIMED[chosen.kind]
    return TimedSource(
        vendor, chosen, _credentials(settings.keys, chosen.kind), source, settings.engine.lateness_ms * 1_000_000,
        trading=open_between(vendor.calendar(chosen)), clock=clock,
    )  # fmt: skip


def _credentials(keys: KeySettings, kind: str) -> Credentials:
    if kind == "alpaca":
        where = "https://alpaca.markets"
        return Credentials(
            _needed(keys.alpaca, "Alpaca", where, "APCA_API_KEY_ID"),
            _needed(keys.alpaca_secret, "Alpaca", where, "APCA_API_SECRET_KEY"),
        )
    if kind == "finnhub":
        return Credentials(_needed(keys.finnhub, "Finnhub", "https://finnhub.io", "FINNHUB_API_KEY"))
    return Credentials(_needed(keys.polygon, "Polygon", "https://massive.com", "POLYGON_API_KEY"))


def _alpha_vantage(
    settings: Settings, chosen: AlphaVantageSettings, source: str, clock: Clock, alive: Callable[[], None]
) -> PolledSource:
    vendor = alpha_vantage.AlphaVantage(chosen)
    _check_timeframe(settings, vendor)
    key = _needed(
        settings.keys.alpha_vantage,
        "Alpha Vantage",
        "https://www.alphavantage.co/support/#api-key",
        "API_KEY",
    )
    allowance = alpha_vantage.allowance(chosen, len(chosen.symbols))
    file = budget_file(settings.data_dir, vendor.name, key.get_secret_value())
    client = RestClient(
        source, chosen.base_url, alpha_vantage.rate(chosen), judge=alpha_vantage.judge,
        key=Key(key, parameter="apikey"), budget=None if allowance is None else Budget(allowance, file, clock),
        timeout_s=chosen.timeout_s, clock=clock, alive=alive,
    )  # fmt: skip
    return _polled(vendor, client, chosen, source, clock, alive)


def _finnhub_bars(
    settings: Settings, chosen: FinnhubBarsSettings, source: str, clock: Clock, alive: Callable[[], None]
) -> PolledSource:
    vendor = finnhub_bars.FinnhubBars(chosen)
    _check_timeframe(settings, vendor)
    key = _needed(settings.keys.finnhub, "Finnhub", "https://finnhub.io", "FINNHUB_API_KEY")
    client = RestClient(
        source, chosen.base_url, finnhub_bars.rate(chosen), key=Key(key, header="X-Finnhub-Token"),
        timeout_s=chosen.timeout_s, clock=clock, alive=alive,
    )  # fmt: skip
    return _polled(vendor, client, chosen, source, clock, alive)


def _polled(
    vendor: Vendor,
    client: RestClient,
    chosen: PolledSettings,
    source: str,
    clock: Clock,
    alive: Callable[[], None],
) -> PolledSource:
    return PolledSource(vendor, client, chosen, source, clock=clock, alive=alive)


def _needed(key: SecretStr | None, vendor: str, where: str, variable: str) -> SecretStr:
    if key is None or not key.get_secret_value():
        raise SettingsError(
            f"{vendor} needs a key, and there is none: get one at {where}, and set {variable} in the environment "
            "or in .env"
        )
    return key


def _check_timeframe(settings: Settings, vendor: Vendor) -> None:
    name = vendor.timeframe.name
    if name not in settings.engine.timeframes:
        raise SettingsError(
            f"{vendor.name} brings bars of {name}, and engine.timeframes has {', '.join(settings.engine.timeframes)}: "
            f"add {name} to it, or choose another interval"
        )
