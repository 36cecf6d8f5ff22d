"""Messages of one vendor -> rows for the log, checked by trade id. The same for a live feed and a recording.

    message -> parsed -> trade: new, again, missing before it -> rows, gap records
                      -> quote -> rows
                      -> what cannot be used -> dead letters

It has no clock and no connection: receive times come with the messages.
"""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa

from marketpulse.errors import ParameterError
from marketpulse.ports import RejectedInput
from marketpulse.sources.streaming.continuity import GAPS_MAX, Came, Gap, Series
from marketpulse.sources.streaming.parsed import Heard, LastTrade, Parsed, Quote, Refusal, Trade, Unusable
from marketpulse.sources.streaming.rows import Rows
from marketpulse.sources.streaming.vendor import Vendor
from marketpulse.telemetry import STREAM_GAPS, STREAM_MESSAGES, STREAM_MISSING_TRADES, get_logger

POSITION_BYTES = 3_900  # what a position may have, with some room


@dataclass(slots=True)
class Intake:
    """`symbols`: the vendor's symbol -> ours; None: all that come are taken, and named by `vendor.to_ours`."""

    vendor: Vendor
    source: str
    origin: str
    symbols: Mapping[str, str] | None
    trades: bool = True
    quotes: bool = True
    with_venue: bool = False
    singles: Container[str] | None = None  # symbols whose trades come one by one, None: all; of others aggregates
    parse: Callable[[bytes], Sequence[Parsed]] | None = None  # None: the vendor's own; answers by REST need another
    series: dict[str, Series] = field(default_factory=dict)
    refusal: Refusal | None = None
    delays_ns: list[int] = field(default_factory=list)
    declared: list[tuple[str, Gap]] = field(default_factory=list)  # for who asks for what is missing
    newest_ns: int = 0
    heard: set[str] = field(default_factory=set)  # symbols of which something came, as the vendor writes them
    _names: dict[str, str | None] = field(default_factory=dict)
    _rejected: list[RejectedInput] = field(default_factory=list)
    _messages: int = 0
    _rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self._rows = Rows(self.source)

    def message(self, message: bytes, received_ns: int | None, number: int | None = None) -> None:
        """One message as it came. `received_ns` None: unknown, as in a recording without receive times."""
        self._messages += 1
        for parsed in (self.parse or self.vendor.parse)(message):
            try:
                self._one(parsed, received_ns)
            except ParameterError as error:
                parsed = Unusable("bad_symbol", str(error))
            if isinstance(parsed, Unusable):
                self._count("unusable")
                row = self._messages if number is None else number
                value = message if parsed.value is None else parsed.value
                self._rejected.append(RejectedInput(parsed.reason, parsed.detail, self.origin, row, value))

    def refilled(self, trades: Sequence[Trade | Unusable], asked: tuple[int, int], received_ns: int) -> None:
        """Trades that were asked for by REST: those that are missing become rows, others are left."""
        for item in trades:
            if isinstance(item, Trade) and asked[0] <= item.trade_id <= asked[1]:
                self._trade(item, received_ns)
            elif isinstance(item, Unusable):
                value = item.value or b""
                self._rejected.append(RejectedInput(item.reason, item.detail, self.origin, 1, value))

    def given_up(self, symbol: str, first: int, last: int, why: str) -> None:
        """Nobody has these trades: the gap stays, and is said."""
        series = self.series.get(symbol)
        for gap in list(series.gaps) if series else ():
            if dropped := gap.drop(first, last):
                STREAM_MISSING_TRADES.labels(self.source, "given up").inc(dropped)
                self._event(symbol, gap, "open", f"{dropped} trades cannot be had: {why}", dropped)
        if series:
            series.gaps = [gap for gap in series.gaps if gap.missing or not gap.lost]

    def settle(self, now_ns: int) -> None:
        """Declare what has been missing for long enough, and say what is healed."""
        for symbol, series in self.series.items():
            if not series.gaps and series.claimed is None:
                continue
            declared, healed = series.settle(now_ns)
            for gap in declared:
                STREAM_GAPS.labels(self.source).inc()
                STREAM_MISSING_TRADES.labels(self.source, "found").inc(gap.left())
                get_logger().warning(
                    "trades_missing", source=self.source, symbol=symbol, first=gap.first, last=gap.last
                )
                self._event(symbol, gap, "found", f"{gap.left()} trades did not come", gap.left())
                self.declared.append((symbol, gap))
            for gap in healed:
                STREAM_MISSING_TRADES.labels(self.source, "healed").inc(gap.count)
                self._event(symbol, gap, "healed", "all its trades have come", gap.count)
            while len(series.gaps) > GAPS_MAX:
                oldest = series.gaps[0]
                self.given_up(symbol, oldest.first, oldest.last, "more gaps than can be kept in mind")

    def drain(self) -> tuple[list[pa.RecordBatch], list[RejectedInput]]:
        """What has gathered, in the order in which to write it."""
        batches = self._rows.drain()
        rejected, self._rejected = self._rejected, []
        return batches, rejected

    def waiting(self) -> int:
        """Whether there is something to drain, as a rough count."""
        return len(self._rows) + len(self._rejected)

    def position(self) -> dict[str, list[object]]:
        """What was taken, by symbol. Where it grows too long, the oldest gaps are given up."""
        while True:
            kept = {symbol: series.kept() for symbol, series in self.series.items()}
            if len(json.dumps(kept, separators=(",", ":"))) <= POSITION_BYTES:
                return kept
            candidates = [(s.gaps[0].found_ns, symbol) for symbol, s in self.series.items() if s.gaps]
            if not candidates:
                return kept  # the log says what to do
            symbol = min(candidates)[1]
            gap = self.series[symbol].gaps[0]
            self.given_up(symbol, gap.first, gap.last, "more gaps than a position can hold")

    def restore(self, kept: Mapping[str, list[object]]) -> None:
        """Go on behind a position; a symbol that is not asked for any more is forgotten."""
        for symbol, values in kept.items():
            if self.symbols is None or symbol in self.symbols:
                self.series[symbol] = Series.restored(values)
                self.newest_ns = max(self.newest_ns, self.series[symbol].newest_ns)
                self.declared += [(symbol, gap) for gap in self.series[symbol].gaps if gap.declared]

    # --- one thing ---

    def _one(self, parsed: Parsed, received_ns: int | None) -> None:
        if isinstance(parsed, Trade):
            if parsed.aggregate == (self.singles is None or parsed.symbol in self.singles):
                self._count("aggregate" if parsed.aggregate else "not asked for")
            elif self.trades and self._ours(parsed.symbol) is not None:
                self._trade(parsed, received_ns)
            else:
                self._count("not asked for")
        elif isinstance(parsed, Quote):
            self._quote(parsed, received_ns)
        elif isinstance(parsed, LastTrade):
            self._count("heartbeat")
            self.heard.add(parsed.symbol)
            if self.trades and self._ours(parsed.symbol) is not None:
                self.series.setdefault(parsed.symbol, Series()).claim(parsed.trade_id, self._at(received_ns))
        elif isinstance(parsed, Heard):
            self._count("heard")
        elif isinstance(parsed, Refusal):
            self._count("refusal")
            self.refusal = parsed

    def _at(self, received_ns: int | None) -> int:
        return self.newest_ns if received_ns is None else received_ns

    def _trade(self, trade: Trade, received_ns: int | None) -> None:
        name = self._ours(trade.symbol)
        if name is None:
            return
        series = self.series.setdefault(trade.symbol, Series())
        at = trade.time_ns if received_ns is None else received_ns
        came = series.take(trade.trade_id, trade.time_ns, at)
        if came is Came.AGAIN:
            self._count("again")
            return
        if came is Came.STRANGE:
            self._count("unusable")
            detail = f"trade id {trade.trade_id} of {trade.symbol} is far from {series.last}"
            self._rejected.append(
                RejectedInput("wrong_type", detail, self.origin, self._messages, orjson.dumps(trade._asdict()))
            )
            return
        self._count("trade")
        self.heard.add(trade.symbol)
        self.newest_ns = max(self.newest_ns, trade.time_ns)
        if trade.live and received_ns is not None:
            self.delays_ns.append(received_ns - trade.time_ns)
        venue = self.vendor.venue
        self._rows.trade(name, trade.time_ns, trade.price, trade.size, str(trade.trade_id), at, venue)

    def _quote(self, quote: Quote, received_ns: int | None) -> None:
        name = self._ours(quote.symbol)
        if not self.quotes or name is None:
            self._count("not asked for")
            return
        time_ns = quote.time_ns or received_ns or self.newest_ns
        if not time_ns:
            self._count("quote without time")  # it stands before the first time of a recording without any
            return
        self._count("quote")
        self.heard.add(quote.symbol)
        self._rows.quote(name, time_ns, quote[2:], received_ns or time_ns, self.vendor.venue)

    def _ours(self, symbol: str) -> str | None:
        if symbol not in self._names:
            found = self.vendor.to_ours(symbol) if self.symbols is None else self.symbols.get(symbol)
            if found is not None and self.with_venue:
                found = f"{found}.{self.vendor.venue}"
            if len(self._names) > 10_000:
                return found  # whoever names so many is not a market
            self._names[symbol] = found
        return self._names[symbol]

    def _count(self, kind: str) -> None:
        STREAM_MESSAGES.labels(self.source, kind).inc()

    # --- rows ---

    def _event(self, symbol: str, gap: Gap, state: str, reason: str, count: int) -> None:
        """A `gap` record. It stands at the newest time of its symbol, behind the rows that it speaks of."""
        name = self._ours(symbol)
        at = max(self.series[symbol].newest_ns, gap.to_ns)
        body = {
            "type": "gap", "symbol": name, "source": self.source, "event_time_ns": at, "from_ns": gap.from_ns,
            "to_ns": gap.to_ns, "reason": reason, "state": state, "from_id": str(gap.first), "to_id": str(gap.last),
            "trades": count,
        }  # fmt: skip
        self._rows.event(body)
