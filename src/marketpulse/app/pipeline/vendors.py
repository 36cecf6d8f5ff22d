"""Opens the sources of vendors that have a key, a rate or a calendar: its protocol, its key, its limits."""

from collections.abc import Callable, Sequence
from functools import partial

from pydantic import SecretStr

from marketpulse.app.trading_hours import open_between, venue_is_open
from marketpulse.clock import Clock
from marketpulse.errors import SettingsError
from marketpulse.settings import (
    AlpacaSettings,
    AlphaVantageSettings,
    FinnhubBarsSettings,
    FinnhubSettings,
    KeySettings,
    PolygonSettings,
    RestSettings,
    Settings,
    YahooSettings,
)
from marketpulse.sources import alpha_vantage, finnhub_bars, yahoo
from marketpulse.sources.actions.ledger import Ledger
from marketpulse.sources.actions.vendors import AlphaVantageActions, AlphaVantageDays, YahooActions
from marketpulse.sources.news.ledger import NewsLedger
from marketpulse.sources.news.vendors import AlphaVantageNews
from marketpulse.sources.rest import Budget, Key, RestClient, any_vendor, budget_file
from marketpulse.sources.rest.any_vendor import AnyVendor
from marketpulse.sources.rest.polled import PolledSource, Vendor
from marketpulse.sources.streaming.aside import Aside
from marketpulse.sources.streaming.timed import TimedSource
from marketpulse.sources.streaming.vendor import Credentials
from marketpulse.sources.streaming.vendors import ASIDE, TIMED


def open_polled(
    settings: Settings,
    chosen: AlphaVantageSettings | YahooSettings | FinnhubBarsSettings | RestSettings,
    source: str,
    clock: Clock,
    alive: Callable[[], None],
) -> PolledSource:
    """Raises SettingsError when the key is missing, or when the engine does not build the vendor's bars."""
    if isinstance(chosen, AlphaVantageSettings):
        return _alpha_vantage(settings, chosen, source, clock, alive)
    if isinstance(chosen, FinnhubBarsSettings):
        return _finnhub_bars(settings, chosen, source, clock, alive)
    if isinstance(chosen, RestSettings):
        return _any_vendor(settings, chosen, source, clock, alive)
    vendor = yahoo.Yahoo(chosen)
    _check_timeframe(settings, vendor)
    client = RestClient(
        source, chosen.base_url, yahoo.rate(chosen), judge=yahoo.judge, headers=yahoo.HEADERS,
        timeout_s=chosen.timeout_s, clock=clock, alive=alive,
    )  # fmt: skip
    actions = YahooActions() if chosen.corporate_actions else None
    return _polled(settings, clock, alive)(vendor, client, chosen, source, actions=actions)


def open_timed(
    settings: Settings, chosen: AlpacaSettings | PolygonSettings | FinnhubSettings, source: str, clock: Clock
) -> TimedSource:
    """A feed that needs a key. Raises SettingsError when it is missing, or the calendar is unknown."""
    vendor = TIMED[chosen.kind]
    return TimedSource(
        vendor, chosen, _credentials(settings.keys, chosen.kind), source, settings.engine.lateness_ms * 1_000_000,
        trading=open_between(vendor.calendar(chosen)), clock=clock, aside=_aside(chosen, source),
    )  # fmt: skip


def _aside(
    chosen: AlpacaSettings | PolygonSettings | FinnhubSettings, source: str
) -> Callable[[RestClient, Sequence[str]], Aside] | None:
    """What a feed's vendor is asked beside it. Pairs have neither."""
    stocks = chosen.feed != "crypto" if isinstance(chosen, AlpacaSettings) else True
    if isinstance(chosen, PolygonSettings):
        stocks = chosen.market == "stocks"
    if not stocks or not (chosen.corporate_actions or chosen.news):
        return None
    actions, news = ASIDE[chosen.kind]

    def opened(client: RestClient, symbols: Sequence[str]) -> Aside:
        named = [symbol for symbol in symbols if ":" not in symbol]  # BINANCE:BTCUSDT
        return Aside(
            source, client, Ledger(actions, source, named) if chosen.corporate_actions else None,
            NewsLedger(news, source, named, chosen.news_every_s) if chosen.news else None,
        )  # fmt: skip

    return opened


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
        settings.keys.alpha_vantage, "Alpha Vantage", "https://www.alphavantage.co/support/#api-key", "API_KEY"
    )
    allowance = alpha_vantage.allowance(chosen, len(chosen.symbols))
    file = budget_file(settings.data_dir, vendor.name, key.get_secret_value())
    client = RestClient(
        source, chosen.base_url, alpha_vantage.rate(chosen), judge=alpha_vantage.judge,
        key=Key(key, parameter="apikey"), budget=None if allowance is None else Budget(allowance, file, clock),
        timeout_s=chosen.timeout_s, clock=clock, alive=alive,
    )  # fmt: skip
    of_days = AlphaVantageDays() if chosen.function == "daily_adjusted" else AlphaVantageActions()
    return _polled(settings, clock, alive)(
        vendor, client, chosen, source,
        actions=of_days if chosen.corporate_actions else None,
        news=AlphaVantageNews() if chosen.news else None, news_every_s=chosen.news_every_s,
    )  # fmt: skip


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
    return _polled(settings, clock, alive)(vendor, client, chosen, source)


def _any_vendor(
    settings: Settings, chosen: RestSettings, source: str, clock: Clock, alive: Callable[[], None]
) -> PolledSource:
    variables = chosen.read_variables(source)
    check = partial(_check_timeframe, settings)
    vendor = AnyVendor(chosen, variables, check)
    check(vendor)
    allowance = any_vendor.allowance(chosen, 1 if vendor.together else len(chosen.symbols))
    file = budget_file(settings.data_dir, vendor.name, "".join(variables.values()))
    rate, *more = any_vendor.rates(chosen)
    client = RestClient(
        source, vendor.base_url, rate, more_rates=more, judge=vendor.judge, headers=vendor.headers(),
        secrets=[Key(SecretStr(value)) for value in variables.values()],
        budget=None if allowance is None else Budget(allowance, file, clock), timeout_s=chosen.timeout_s, clock=clock,
        alive=alive,
    )  # fmt: skip
    return _polled(settings, clock, alive)(vendor, client, chosen, source, together=vendor.together, learn=vendor.learn)


def _polled(settings: Settings, clock: Clock, alive: Callable[[], None]) -> "partial[PolledSource]":
    """What every polled source is made with."""
    return partial(PolledSource, clock=clock, alive=alive, is_open=venue_is_open(settings.engine))


def _needed(key: SecretStr | None, vendor: str, where: str, variable: str) -> SecretStr:
    if key is None or not key.get_secret_value():
        raise SettingsError(
            f"{vendor} needs a key, and there is none: get one at {where}, and set {variable} in the environment "
            "or in .env"
        )
    return key


def _check_timeframe(settings: Settings, vendor: Vendor) -> None:
    name = None if vendor.timeframe is None else vendor.timeframe.name
    if name is not None and name not in settings.engine.timeframes:
        raise SettingsError(
            f"{vendor.name} brings bars of {name}, and engine.timeframes has {', '.join(settings.engine.timeframes)}: "
            f"add {name} to it, or choose another interval"
        )
