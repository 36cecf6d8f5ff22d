"""`serve`: rows of the log -> board -> pages."""

from marketpulse.app.lifecycle import Lifecycle
from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import EnvironmentProblem, Retryable
from marketpulse.kafka.feed import KafkaLiveFeed
from marketpulse.ports import LiveFeed, PipelineStats
from marketpulse.settings import Settings
from marketpulse.telemetry import get_logger
from marketpulse.web.api import create_app
from marketpulse.web.board import Board
from marketpulse.web.server import WebServer

POLL_S = 0.1
STATS_EVERY_S = 0.5
AWAY_S = 1.0
_AWAY = PipelineStats(0, 0, 0, 0, broker_reachable=False)


def run(settings: Settings, life: Lifecycle) -> int:
    """Serve the page until `life.stop`; the log may come, go and come back meanwhile."""
    return serve_feed(KafkaLiveFeed(settings, history=settings.serve.history_bars), settings, life)


def serve_feed(feed: LiveFeed, settings: Settings, life: Lifecycle) -> int:
    """Serve what any feed brings."""
    board = Board(settings.serve.history_bars)
    server = WebServer(create_app(board, settings.serve), settings.serve)
    server.start()
    try:
        life.announce(url=server.url)
        _follow(feed, board, server, life)
    finally:
        server.stop()
        feed.close()
    return 0


def _follow(
    feed: LiveFeed, board: Board, server: WebServer, life: Lifecycle, clock: Clock | None = None
) -> None:
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
            raise EnvironmentProblem(
                "the page's server has stopped by itself: see the log, then start it again"
            )
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
