"""`serve`: what is stored, then rows of the log -> board -> pages."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.app.observing import Observer
from marketpulse.app.patience import await_broker
from marketpulse.app.scoring.watch import ScoreWatch
from marketpulse.catalog.lake import open_lake
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import EnvironmentProblem, MarketPulseError, Retryable
from marketpulse.kafka.dead_letter_desk import KafkaDeadLetters
from marketpulse.kafka.feed import KafkaLiveFeed
from marketpulse.ports import AlertDesk, ChartDesk, FeedBatch, History, LiveFeed, PipelineStats, SqlPool
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger
from marketpulse.web.alerts_feed import AlertsFeed
from marketpulse.web.api import create_app
from marketpulse.web.board import Board, Part
from marketpulse.web.market import MarketPart
from marketpulse.web.rest.alert_rows import RecentAlerts
from marketpulse.web.rest.alert_rules import AlertRulesApi
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.rest.pipeline import PipelineApi
from marketpulse.web.rest.sources import SourcesApi
from marketpulse.web.rest.stored import Stored
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi
from marketpulse.web.sql_runs import SqlRuns

if TYPE_CHECKING:
    from marketpulse.query import RecentRows
    from marketpulse.query.recent_redis import RecentRowsOfRedis

POLL_S = 0.1
STATS_EVERY_S = 0.5
AWAY_S = 1.0
_AWAY = PipelineStats(0, 0, 0, 0, broker_reachable=False)


def run(settings: Settings, life: Lifecycle) -> int:
    """Serve the page until `life.stop`: what is stored at once, the log as soon as there is a broker. The
    log may come, go and come back meanwhile."""
    history = settings.serve.history_bars
    positions, stored = _stored(settings, history)

    def connect() -> LiveFeed | None:
        await_broker(settings, life)
        return None if life.stop.is_set() else KafkaLiveFeed(settings, history, positions)

    return serve_feed(connect, settings, life, stored)


def _stored(settings: Settings, history: int) -> tuple[dict[tuple[str, int], int], Iterable[FeedBatch]]:
    """How far the store of the first picture holds the topics, and its newest rows. Nothing, when it has none or
    cannot be read."""
    try:
        if (recent := _first_picture(settings, history)) is None:
            return {}, ()
        positions = recent.positions()
    except MarketPulseError as fault:
        get_logger().warning("stored_bars_unread", fault=str(fault))
        return {}, ()
    return positions, as_far_as_possible(recent.batches())


def _first_picture(settings: Settings, history: int) -> "RecentRows | RecentRowsOfRedis | None":
    quick = settings.serve.first_picture == "redis"
    if not quick and not (settings.sinks.lake.enabled and open_lake(settings).exists()):
        return None
    if quick:
        from marketpulse.query.recent_redis import RecentRowsOfRedis

        return RecentRowsOfRedis(settings, history)
    from marketpulse.query import RecentRows  # 0.2 s, which the first start of all does not need

    return RecentRows(settings, history)


def as_far_as_possible(batches: Iterator[FeedBatch]) -> Iterator[FeedBatch]:
    """The page goes without what cannot be read: the log brings the newest rows."""
    try:
        yield from batches
    except MarketPulseError as fault:
        get_logger().warning("stored_bars_unread", fault=str(fault))


def serve_feed(
    connect: Callable[[], LiveFeed | None], settings: Settings, life: Lifecycle, stored: Iterable[FeedBatch] = ()
) -> int:
    """Serve `stored` rows, then what a feed brings; `connect` waits for the feed, and has none when told to stop."""
    recent = RecentAlerts()
    parts: dict[str, Part] = {"market": MarketPart(), "recent_alerts": recent, "alerts": AlertsFeed()}
    observer = Observer(settings.data_dir, SystemClock(), lambda: board.log())  # each reads the other
    board = Board(settings.serve.history_bars, parts=parts, health=observer.health)
    runs = SqlRuns(lambda: _query_pool(settings), settings.sql)
    scores = _score_watch(settings, observer)
    sources = SourcesApi(scores)
    pipeline = PipelineApi(board, observer, lambda: KafkaDeadLetters(settings))
    past = Stored(lambda: _history(settings)) if settings.sinks.lake.enabled else None
    charts = ChartApi(board, lambda: _chart_desk(settings))
    alerts = AlertRulesApi(lambda: _alert_desk(settings))
    routers = [pipeline.router(), sources.router(), charts.router(), alerts.router(), AskApi(runs).router()]
    app = create_app(
        board, settings.serve, sql=SqlApi(runs), stored=past, alerts=recent, routers=routers,
        in_prices=lambda column: _in_prices(settings, column),
    )  # fmt: skip
    server = WebServer(app, settings.serve)
    server.start()
    try:
        observer.start()
        life.announce(url=server.url)
        for batch in stored:
            board.take(batch)
            life.health.beat()
            if life.stop.is_set():
                return 0
        if (feed := connect()) is None:
            return 0
        life.health.set_ready()
        if scores is not None:
            scores.start()
        try:
            _follow(feed, board, server, life)
        finally:
            feed.close()
    finally:
        pipeline.close()
        sources.close()
        if scores is not None:
            scores.close()
        observer.close()
        runs.close()
        alerts.close()
        server.stop()
        charts.close()
        if past is not None:
            past.close()
    return 0


def _score_watch(settings: Settings, observer: Observer) -> ScoreWatch | None:
    return ScoreWatch(settings, SystemClock(), observer.samples) if settings.scorecard.enabled else None


def _chart_desk(settings: Settings) -> ChartDesk:
    from marketpulse.app.charts.desk import LiveDesk  # as late as the others

    return LiveDesk(settings)


def _in_prices(settings: Settings, column: str) -> bool:
    from marketpulse.app.charts.catalogue import in_prices, indicators_of  # as late as the others

    return in_prices(column, indicators_of(settings.engine))


def _history(settings: Settings) -> History:
    from marketpulse.query.history import LakeHistory  # as late as the pool

    return LakeHistory(settings)


def _query_pool(settings: Settings) -> SqlPool:
    from marketpulse.query.pool import ChildPool  # 0.2 s, which no start needs

    return ChildPool(settings)


def _alert_desk(settings: Settings) -> AlertDesk:
    from marketpulse.app.alert_desk import PipelineAlertDesk  # as above

    return PipelineAlertDesk(settings)


def _follow(feed: LiveFeed, board: Board, server: WebServer, life: Lifecycle, clock: Clock | None = None) -> None:
    clock = clock or SystemClock()
    log = get_logger()
    stats_due = 0.0

    def turn() -> None:
        nonlocal stats_due
        life.health.beat()
        if clock.monotonic() >= stats_due:
            board.take_stats(feed.stats())
            stats_due = clock.monotonic() + STATS_EVERY_S

    while not life.stop.is_set():
        if not server.alive():
            raise EnvironmentProblem("the page's server has stopped by itself: see the log, then start it again")
        try:
            turn()
            for batch in feed.batches(POLL_S):
                board.take(batch)
                turn()
                if life.stop.is_set():
                    return
        except Retryable as fault:
            log.warning("log_away", fault=str(fault))
            board.take_stats(_AWAY)
            life.stop.wait(AWAY_S)
