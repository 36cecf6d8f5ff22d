"""What a process says about itself: every metric's name, the logs, and the health endpoints.

Prometheus text at /metrics; /live answers while the process turns; /ready once it does its work. Why it does not stands in a
header of /metrics too, so that one request is enough.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketpulse.errors import EnvironmentProblem

REGISTRY = CollectorRegistry()
TROUBLE_HEADER = "Marketpulse-Trouble"  # percent-encoded
_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"marketpulse_{name}", meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"marketpulse_{name}", meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, *labels: str) -> Histogram:
    return Histogram(f"marketpulse_{name}", meaning, labels, buckets=_LATENCIES_S, registry=REGISTRY)


# Sources
ROWS_PRODUCED = _counter("rows_produced", "Rows written to `market`", "source", "type")
INPUT_REJECTED = _counter("input_rejected", "Rows of a source's input that were set aside", "source", "reason")
SPOOL_ROWS = _gauge("spool_rows", "Rows of a live feed that wait on the disk for the broker", "source")
SPOOL_BYTES = _gauge("spool_bytes", "Bytes of a live feed that wait on the disk for the broker", "source")
SPOOL_AGE_SECONDS = _gauge(
    "spool_age_seconds", "How long the oldest row of a live feed has waited on the disk", "source"
)
SPOOLED_ROWS = _counter("spooled_rows", "Rows of a live feed that went to the disk before the log", "source")
SPOOL_REFUSED = _counter(
    "spool_refused", "Times a feed had to wait: no room on the disk, or a fault of it", "source", "why"
)
SOURCE_ERRORS = _counter("source_errors", "Faults of a source's far end", "source")
REST_REQUESTS = _counter(
    "rest_requests", "Requests to a vendor by their end: good, limit, key, refused, failed", "source", "end"
)
REST_BUDGET_LEFT = _gauge("rest_budget_left", "Requests that the vendor still allows today", "source")
REST_BUDGET = _gauge("rest_budget", "Requests that the vendor allows a day", "source")
REST_ROWS = _counter(
    "rest_rows", "Rows of a vendor's answers: accepted, repeated, waiting, refused, not_asked", "source", "end"
)
REST_SILENT_SECONDS = _gauge(
    "rest_silent_seconds", "Age of the newest row while its market is open and newer ones are overdue; else 0", "source"
)
BARS_CHANGED = _counter("bars_changed", "Bars that a vendor told otherwise after they had closed", "source")
SWITCHES = _counter("switches", "Switches of a symbol to another source, by why", "reason")
FAILOVER_ROWS = _counter(
    "failover_rows", "Rows of candidates: forwarded, released at a switch, left out, let go unused", "fate"
)
FAILOVER_HELD_ROWS = _gauge("failover_held_rows", "Rows that are held for a switch to come")
FAILOVER_UNFED_SYMBOLS = _gauge("failover_unfed_symbols", "Symbols whose source is lost, and nobody stands in")
FAILOVER_OWNED_SYMBOLS = _gauge("failover_owned_symbols", "Symbols that a source feeds", "source")
STANDBY_SILENCE_SECONDS = _gauge(
    "standby_silence_seconds", "How long a candidate has written nothing, by the log's time", "source"
)
CORPORATE_ACTIONS = _counter("corporate_actions", "Splits and dividends that vendors told", "source")
NEWS = _counter("news", "News that vendors told", "source")
SOURCE_GAPS = _counter("source_gaps", "Stretches that a vendor's answer did not reach back to", "source")
PUSHES = _counter("pushes", "Requests that pushed rows, by the status of their answer", "source", "status")
STREAM_MESSAGES = _counter("stream_messages", "What a feed's messages said, by kind", "source", "kind")
STREAM_RECONNECTS = _counter("stream_reconnects", "Connections of a feed that ended or failed", "source", "why")
STREAM_OVERRUN = _counter("stream_overrun", "Messages of a feed that found the queue full", "source")
STREAM_GAPS = _counter("stream_gaps", "Stretches of trades that a feed did not bring", "source")
STREAM_MISSING_TRADES = _counter(
    "stream_missing_trades", "Trades that a feed did not bring: found, healed, given up", "source", "what"
)
STREAM_RECORDER_ERRORS = _counter("stream_recorder_errors", "Recordings that a fault of the disk ended", "source")
# The log
RECORDS_CONSUMED = _counter("records_consumed", "Records read", "topic")
DEAD_LETTERS = _counter("dead_letters", "Records and rows set aside", "reason")
UNREADABLE_BATCHES = _counter(
    "unreadable_batches", "Batches and records that a reader stepped over since nobody can read them", "topic", "reason"
)
BROKER_ERRORS = _counter("broker_errors", "Errors that the Kafka client reported", "code")
CLIENTS_LEFT_BEHIND = _counter("clients_left_behind", "Kafka clients that did not close when they were asked to")
TRANSACTIONS = _counter("transactions", "Transactions by their end", "end")
COMMIT_SECONDS = _histogram("commit_seconds", "Time of one transaction's commit")
# The engine
BARS_CLOSED = _counter("bars_closed", "Closed bars", "timeframe")
OUT_OF_SESSION = _counter("out_of_session", "Trades outside their session: kept, in no bar")
SOURCE_ROWS = _counter(
    "source_rows",
    "Rows of a source that the engine has read, and those of them by fate: duplicates, late, refused, behind (the window)",
    "source",
    "fate",
)
HISTORIES_ENDED = _counter("histories_ended", "Goodbyes of historical sources, in each partition")
LATE_TRADES = _counter("late_trades", "Trades whose bar had closed")
QUALITY_FOUND = _counter(
    "quality_found", "Rows that a rule of data quality found, and what became of them", "rule", "severity", "source"
)
DUPLICATE_TRADES = _counter("duplicate_trades", "Trades dropped because their id had come before")
BARS_REVISED = _counter("bars_revised", "Bars that a late or changed trade made another")
ALERTS_RAISED = _counter("alerts_raised", "Alerts raised", "severity")
ALERTS_CLEARED = _counter("alerts_cleared", "Alerts cleared", "severity")
ALERTS_WITHDRAWN = _counter("alerts_withdrawn", "Raised or cleared alerts that a revision took back", "severity")
CROSSED_QUOTES = _counter("crossed_quotes", "Quotes whose bid was above their ask, or at it", "book")
LATE_QUOTES = _counter("late_quotes", "Quotes whose bar had closed")
DROPPED_QUOTES = _counter("dropped_quotes", "Quotes that entered nothing", "why")
WINDOW_QUOTES = _gauge("window_quotes", "Quotes kept for the bars of the correction window")
WINDOW_TRADES = _gauge("window_trades", "Trades kept in the correction window")
SYMBOLS = _gauge("symbols", "Symbols that this worker holds")
WATERMARK_DELAY_SECONDS = _gauge(
    "watermark_delay_seconds",
    "How far a live source's watermark stands behind the log's time, where it is furthest",
    "source",
)
STATE_BYTES = _gauge("state_bytes", "Size of the engine's state")
STATE_SNAPSHOTS = _counter("state_snapshots", "Snapshots written to `state`")
STEP_SECONDS = _histogram("step_seconds", "Time of one engine step")
EVENT_LATENCY_SECONDS = _histogram("event_latency_seconds", "From a trade's or quote's ingest to its live row")
# Sinks
ROWS_STORED = _counter("rows_stored", "Rows made durable", "sink", "table")
SINK_LAG_RECORDS = _gauge("sink_lag_records", "Records that a sink has not read yet", "sink")
SINK_ERRORS = _counter("sink_errors", "Faults of a store", "sink")
FLUSH_SECONDS = _histogram("flush_seconds", "Time of one flush", "sink")
POINTS_REFUSED = _counter(
    "points_refused", "Points that a store would not take, or that shared a key", "sink", "reason"
)
# Receipts
HEALED_ROWS = _counter("healed_rows", "Rows that came too late and were brought in by `up` itself")
HEALS_FAILED = _counter("heals_failed", "Runs of `heal` beside `up` that ended without a result")
PARITY_ROWS_CHECKED = _counter("parity_rows_checked", "Stored rows that were computed again")
PARITY_DRIFT_ROWS = _gauge("parity_drift_rows", "Rows found, since this process began, that are not what the log gives")
PARITY_SKIPPED_RECORDS = _counter("parity_skipped_records", "Records that the check left out to keep up")
# The page
PAGES_CONNECTED = _gauge("pages_connected", "Open WebSockets")
PAGE_FRAMES = _counter("page_frames", "Updates sent to pages")
PAGES_RESUMED = _counter("pages_resumed", "Pages that came back: with what they missed, or the whole", "how")
PAGES_LET_GO = _counter("pages_let_go", "Pages that were let go because they took nothing")
REQUESTS_REFUSED = _counter("requests_refused", "Requests refused", "why")
API_ERRORS = _counter("api_errors", "Answers of the web API that tell an error", "status")
CHART_QUESTIONS = _counter("chart_questions", "What charts asked for beside their bars, by kind and end", "kind", "end")
CHART_SECONDS = _histogram("chart_seconds", "Time of such a question, waiting included")
SCORECARD_BEHIND_SECONDS = _gauge(
    "scorecard_behind_seconds", "How far the newest record that the scorecard has heard lies behind the clock"
)
SCORECARD_ERRORS = _counter("scorecard_errors", "Faults that the scorecard has met; it begins anew")
# SQL
SQL_QUERIES = _counter("sql_queries", "Queries of the web API by their end", "end")
SQL_SECONDS = _histogram("sql_seconds", "Time of one query of the web API, waiting included")
SQL_RUNNING = _gauge("sql_running", "Queries of the web API that run or wait")
SQL_KILLED = _counter(
    "sql_killed",
    "Processes of queries that were ended: by time, stopped (or hung up), unread, or the signal or exit that ended one",
    "why",
)
# Alert rules
ALERT_REQUESTS = _counter(
    "alert_requests", "Requests of the alerts' API by what was asked and their end", "what", "end"
)
# The tree
CHILD_RESTARTS = _counter(
    "child_restarts", "Children that died and were started again, by how they ended", "child", "end"
)


def read_metrics(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each sample of Prometheus text: its name without our prefix and `_total`, its labels, its value."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = sample.name.removeprefix("marketpulse_").removesuffix("_total")
                yield name, sample.labels, sample.value


def metrics_text() -> tuple[bytes, str]:
    """All metrics of this process, and their media type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def configure_logging(process: str, level: str = "warning", style: str = "auto") -> None:
    """Structured logs on standard error: JSON lines, or columns on a terminal."""
    plain = style == "json" or (style == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if plain else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)


if (
    not structlog.is_configured()
):  # a command that is no process, and a notebook: only what has failed, and never on stdout
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def get_logger() -> Any:
    """The process's logger: `log.warning("event_name", field=value)`."""
    return structlog.get_logger()


class Health:
    """Whether this process turns (`beat`) and does its work (`ready`)."""

    def __init__(self, stale_after_s: float = 30) -> None:
        self._beat = time.monotonic()
        self._stale_after_s = stale_after_s
        self._reason = "starting"

    def beat(self) -> None:
        self._beat = time.monotonic()

    def set_ready(self) -> None:
        self.beat()
        self._reason = ""

    def set_not_ready(self, reason: str) -> None:
        """Say why: who does so is alive."""
        self.beat()
        self._reason = reason

    def live(self) -> tuple[bool, str]:
        age = time.monotonic() - self._beat
        return age < self._stale_after_s, f"last turn {age:.1f} s ago"

    def ready(self) -> tuple[bool, str]:
        return not self._reason, self._reason or "ready"

    def trouble(self) -> str:
        """Why the process does not do its work; empty: it does."""
        return next((why for good, why in (self.live(), self.ready()) if not good), "")


class TelemetryServer:
    """Serves /metrics, /live and /ready on loopback from a thread of its own."""

    def __init__(self, health: Health, port: int = 0, host: str = "127.0.0.1") -> None:
        checks: dict[str, Callable[[], tuple[bool, str]]] = {"/live": health.live, "/ready": health.ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, *metrics_text(), trouble=health.trouble())
                elif check := checks.get(self.path):
                    good, why = check()
                    self._answer(200 if good else 503, f"{why}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(404, b"/metrics, /live or /ready\n", "text/plain; charset=utf-8")

            def _answer(self, status: int, body: bytes, content_type: str, trouble: str = "") -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                if trouble:
                    self.send_header(TROUBLE_HEADER, quote(trouble))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Requests are not logged."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise EnvironmentProblem(
                f"metrics port {port} on {host} cannot be opened ({error.strerror}): set telemetry.metrics_port to another, or 0"
            ) from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
