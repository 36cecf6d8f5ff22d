"""Any vendor that answers a GET, as settings describe it: see settings.RestSettings and docs/sources.md#any-vendor.

places of the URL filled in -> RestClient -> rows found in the answer -> understood as a file's are -> PolledSource
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import orjson
import polars as pl

from marketpulse.errors import Fatal, RejectedRecord, SettingsError
from marketpulse.model.timeframe import DAY_NS, SECOND_NS, Timeframe
from marketpulse.ports import RejectedInput
from marketpulse.settings import RestSettings
from marketpulse.settings.vendors import REST_PLACE, query_of
from marketpulse.sources import bars
from marketpulse.sources.csv_rows import rows_of, sniff
from marketpulse.sources.inference import reader_for
from marketpulse.sources.json_rows import rows_of_values
from marketpulse.sources.normalise import Reader, Rows
from marketpulse.sources.raw import RawRows
from marketpulse.sources.rest.answer import Answer, Judgement, Taken
from marketpulse.sources.rest.bar_answer import Reading, newest_words, unusable
from marketpulse.sources.rest.budget import Allowance
from marketpulse.sources.rest.found_rows import at_path, find_rows
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.question import Question
from marketpulse.sources.symbols import ours
from marketpulse.sources.times import Mask

_OVERLAP_BARS = 5  # asked for again, to notice what the vendor changes
_LIMIT_S = 60.0
_UNITS = {"s": SECOND_NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
_SAYING = ("error", "errors", "errormessage", "message", "msg", "note", "information", "detail", "reason")
_LIMIT = re.compile(r"rate.?limit|too many|call frequency|(requests?|calls?|credits?) per|quota|throttl", re.IGNORECASE)
_KEY = re.compile(
    r"(api.?key|access.token)\b.*(invalid|missing|expired|not valid|unknown|required)|(invalid|missing|expired|unknown) (api.?key|access.token)",
    re.IGNORECASE | re.DOTALL,
)
_NEXT_LINK = re.compile(r'<([^<>]*)>[^,<]*\brel="?next\b', re.IGNORECASE)


def rates(settings: RestSettings) -> list[Rate]:
    """What the plan allows of a second and of a minute; without both, a hundred a second."""
    given = ((settings.requests_per_second, 1.0), (settings.requests_per_minute, 60.0))
    return [Rate(n, per_s, burst=min(5, n)) for n, per_s in given if n is not None] or [Rate(100, 1.0)]


def allowance(settings: RestSettings, questions: int) -> Allowance | None:
    """The day's requests: a first look at everything and half of the others at any time, the rest over the day."""
    per_day = settings.requests_per_day
    return None if per_day is None else Allowance(per_day, at_once=max(questions, per_day // 2))


class AnyVendor:
    """The protocol of a vendor that the settings describe; see rest.polled.Vendor. `environment` has the variables that
    they name; `check` is asked about the timeframe once it is known, and raises when the engine does not build it."""

    def __init__(
        self, settings: RestSettings, environment: Mapping[str, str], check: Callable[["AnyVendor"], None]
    ) -> None:
        self.name = urlsplit(settings.url).hostname or "rest"
        self.timeframe = None if settings.mapping.timeframe is None else Timeframe.parse(settings.mapping.timeframe)
        self._settings = settings
        self._environment = environment
        self._check = check
        self._mapping = settings.mapping.model_copy(update={"symbol": None})  # `symbols` says it
        self._written = {ours(symbol): symbol for symbol in settings.symbols}
        self._ours = {symbol: own for own, symbol in self._written.items()} | {own: own for own in self._written}
        address, _, _ = settings.url.partition("?")
        self._origin = address[: address.index("/", 8)] if "/" in address[8:] else address
        self._path = address[len(self._origin) :] or "/"
        self._parameters = {**{n: unquote_plus(value) for n, value in query_of(settings.url)}, **settings.parameters}
        self._rows = tuple(part for part in _steps(settings.rows) if part)
        self._next = tuple(part for part in _steps(settings.next or "") if part)
        self._places = {name for name, _ in settings.places()}
        self.together = "symbol" not in self._places
        self._paged = self._places & {"page", "offset"}
        self._readers: dict[tuple[str, ...], Reader] = {}
        self._values: dict[str, Any] = {}
        self._marks: list[Any] = []  # pages that this question has come to
        self._told: set[bytes] = set()  # the rows of its pages, where they may move while it asks
        self._newest_first = False
        try:
            self._zone = ZoneInfo(settings.mapping.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise SettingsError(
                f"mapping.timezone {settings.mapping.timezone!r} is unknown: write one such as America/New_York"
            ) from None

    @property
    def base_url(self) -> str:
        return self._origin

    def learn(self, timeframe: str) -> None:
        """What the bars' spacing was before a restart."""
        self.timeframe = self.timeframe or Timeframe.parse(timeframe)

    def headers(self) -> dict[str, str]:
        def value_of(match: re.Match[str]) -> str:
            return self._environment[match[1]] if match[1] is not None else match[0]

        return {name: REST_PLACE.sub(value_of, value) for name, value in self._settings.headers.items()}

    # --- asking ---

    def question(self, symbol: str, since_ns: int | None, now_ns: int) -> Question:
        settings = self._settings
        overlap_ns = 0 if self.timeframe is None else _OVERLAP_BARS * self.timeframe.length
        since_ns = now_ns - int(settings.history_days * DAY_NS) if since_ns is None else since_ns - overlap_ns
        end_ns = now_ns
        if settings.span_days is not None:
            end_ns = min(now_ns, since_ns + int(settings.span_days * DAY_NS) + overlap_ns)
        self._values = {
            "symbol": self._written.get(symbol, symbol), "symbols": ",".join(self._written.values()), "since": since_ns,
            "until": end_ns, "page": settings.first_page, "offset": 0, "cursor": None,
        }  # fmt: skip
        self._marks, self._told = [], set()
        # A stretch that ends where the vendor may not have come to yet is asked for again.
        is_past = end_ns < now_ns - int(max(settings.delay_s, settings.settle_s) * SECOND_NS)
        return replace(self._page(), until_ns=end_ns if is_past else None)

    def _page(self) -> Question:
        filled = {name: self._filled(text) for name, text in self._parameters.items()}
        path = self._filled(self._path, lambda text: quote(text, safe="")) or "/"
        return Question(path, {n: text for n, text in filled.items() if text is not None}, "since" not in self._places)

    def _filled(self, text: str, spell: Callable[[str], str] = str) -> str | None:
        """A text with its places filled in; None: what it is about is not known (the first page has no cursor)."""
        if any(m[2] == "cursor" and self._values["cursor"] is None for m in REST_PLACE.finditer(text)):
            return None

        def fill(match: re.Match[str]) -> str:
            if match[1] is not None:
                return spell(self._environment[match[1]])
            value = self._values[match[2]]
            return spell(self._time(value, match[3] or "iso") if match[2] in ("since", "until") else str(value))

        return REST_PLACE.sub(fill, text)

    def _time(self, ns: int, how: str) -> str:
        if how in _UNITS:
            return str(ns // _UNITS[how])
        at = datetime.fromtimestamp(ns // SECOND_NS, UTC)
        if how == "iso":
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return at.astimezone(self._zone).strftime("%Y-%m-%d" if how == "date" else how)

    # --- what came ---

    def judge(self, status: int, body: Any) -> Judgement | None:
        """Limits, wrong keys and wrong questions that come with status 200: an answer without rows that says why."""
        if not 200 <= status < 300:
            return None
        if body is None:
            return Judgement(Taken.GOOD) if self._settings.answer == "csv" else None
        said = _said(body)
        if said is None or (self._settings.answer == "json" and self._has_rows(body)):
            return None
        if _LIMIT.search(said):
            return Judgement(Taken.LIMIT, "a limit", _LIMIT_S)
        if _KEY.search(said):
            return Judgement(Taken.KEY, "the key is not accepted")
        return Judgement(Taken.REFUSED, "the question is not accepted")

    def _has_rows(self, body: Any) -> bool:
        try:
            return bool(self._found(body))
        except RejectedRecord:
            return False

    def _found(self, body: Any) -> list[Any]:
        written = set(self._ours)
        return find_rows(body, self._rows, self._settings.columns, str(self._values["symbol"]), written)

    def read(self, symbol: str, answer: Answer) -> Reading:
        origin = f"{self.name} {symbol}"
        try:
            raw = self._raw(answer, origin)
        except RejectedRecord as error:
            return unusable(str(error), origin, answer.raw)
        count = len(raw.frame) + len(raw.broken)
        following, fault = self._following(answer, count)
        reading = self._understood(raw, symbol, origin) if len(raw.frame) else Reading(None, raw.broken)
        if fault is not None:
            letter = RejectedInput("bad_answer", fault, origin, 1, answer.raw[:1_000])
            reading, count = replace(reading, rejected=[*reading.rejected, letter]), count + 1
        page_rows = self._settings.page_rows
        unpaged = not self._paged and not self._next and following is None
        if unpaged and page_rows is not None and count >= page_rows and "since" in self._places:
            reading = replace(reading, is_full=not self._newest_first, is_cut=self._newest_first)
        return replace(reading, following=following, count=count)

    def _raw(self, answer: Answer, origin: str) -> RawRows:
        """Raises RejectedRecord when there are no rows where they should be."""
        if self._settings.answer == "csv":
            if answer.raw.lstrip()[:1] in (b"", b"<", b"{"):
                raise RejectedRecord("a table was expected")
            block = answer.raw if answer.raw.endswith(b"\n") else answer.raw + b"\n"
            try:
                dialect = sniff(block, Path(origin))
            except Fatal as error:
                raise RejectedRecord(str(error)) from None
            body = block.split(b"\n", dialect.head_lines)[-1]
            if not body.strip():
                return RawRows(pl.DataFrame(), origin, lambda i: (i + 1, b""))
            return rows_of(body, dialect, Path(origin), dialect.head_lines + 1)
        rows = self._found(answer.body)
        return rows_of_values(enumerate(rows), lambda i: (i + 1, orjson.dumps(rows[i])), origin)[0]

    def _understood(self, raw: RawRows, symbol: str, origin: str) -> Reading:
        """Raises SettingsError when the settings do not fit to the first answer."""
        names = tuple(raw.frame.columns)
        if names not in self._readers:
            try:
                self._readers[names] = self._reader(raw)
            except Fatal as error:
                if not self._readers:
                    raise SettingsError(str(error)) from None
                fault = f"nothing we know in its fields: {', '.join(names)}"
                letters = [raw.rejected(i, "missing_field", fault) for i in range(len(raw.frame))]
                return Reading(None, [*raw.broken, *letters])
        fallback = next(iter(self._written)) if self.together else symbol
        block = replace(self._readers[names], fallback_symbol=fallback).read(raw)
        times = [(part.time_ns[0], part.time_ns[-1]) for kind, part in block.rows.items() if kind != "event"]
        self._newest_first = any(first > last for first, last in times)
        fresh = self._fresh(raw)
        block_rows = {kind: part.take(fresh[part.raw]) for kind, part in block.rows.items()}
        rows = {kind: self._asked_for(part) for kind, part in block_rows.items()}
        not_asked = sum(len(part) - len(rows[kind]) for kind, part in block_rows.items() if kind != "event")
        found = {kind: part for kind, part in rows.items() if len(part)}
        ticks = {kind: part for kind, part in found.items() if kind in ("trade", "quote")}
        done = None
        if "bar" in found:
            self._learn_from(found["bar"], origin)
            known = None if self.timeframe is None else self.timeframe.name
            done = newest_words(bars.finish(found["bar"], self._mapping, origin, known))
        return Reading(done, block.rejected, ticks=ticks, events=found.get("event"), not_asked=not_asked)

    def _fresh(self, raw: RawRows) -> Mask:
        """(n,) whether a row stands on no page before: rows that come in meanwhile push others from page to page."""
        if not self._paged:
            return np.ones(len(raw.frame), np.bool_)
        texts = [raw.locate(i)[1] for i in range(len(raw.frame))]
        fresh = np.array([text not in self._told for text in texts], np.bool_)
        self._told.update(texts)
        return fresh

    def _reader(self, raw: RawRows) -> Reader:
        reader = reader_for(raw, self._mapping, f"the rows of {self.name}", "")
        if not self.together:  # the rows are of the symbol that was asked for, however the vendor writes it
            reader.plan.columns.pop("symbol", None)
        elif "symbol" not in reader.plan.columns and len(self._written) > 1:
            raise SettingsError(
                f"the rows of {self.name} do not say of which symbol they are: put {{symbol}} into url, or name the field that "
                "does: mapping.columns = { symbol = … }"
            )
        return reader

    def _asked_for(self, rows: Rows) -> Rows:
        """Rows of our symbols, which are called as we call them."""
        if not self.together:
            return rows
        names = rows.frame["symbol"].replace_strict(self._ours, default=None, return_dtype=pl.String)
        named = Rows(rows.frame.with_columns(symbol=names), rows.time_ns, rows.local_ns, rows.raw)
        return named.take(names.is_not_null().to_numpy())

    def _learn_from(self, rows: Rows, origin: str) -> None:
        if self.timeframe is not None:
            return
        try:
            name = bars.usual_timeframe(rows, origin)
            self.timeframe = Timeframe.parse(name or str(rows.frame["timeframe"][0]))
        except Fatal as error:
            raise SettingsError(str(error)) from None
        self._check(self)

    # --- pages ---

    def _following(self, answer: Answer, count: int) -> tuple[Question | None, str | None]:
        """(the next page's question, what is wrong with what the answer says of it)."""
        if self._paged:
            page_rows = self._settings.page_rows
            # Rows that come in push others back by a page once; a vendor that knows no pages shows the same for ever.
            is_last = not count or (page_rows is not None and count < page_rows)
            if is_last or self._comes_again(hash(answer.raw), times=3):
                return None, None
            self._values["page"] += 1
            self._values["offset"] += count
            return self._page(), None
        if self._next:
            mark = at_path(answer.body, self._next)
        else:
            link = _NEXT_LINK.search(answer.headers.get("link", ""))
            mark = None if link is None else link[1]
        if mark in (None, "", False) or isinstance(mark, dict | list) or self._comes_again(mark, times=2):
            return None, None
        if "cursor" in self._places:
            self._values["cursor"] = str(mark)
            return self._page(), None
        return self._page_at(str(mark))

    def _page_at(self, url: str) -> tuple[Question | None, str | None]:
        """A page by its URL, which must lie where the key may go."""
        parts, own = urlsplit(url), urlsplit(self._origin)
        if parts.netloc and (parts.scheme or own.scheme, parts.netloc) != (own.scheme, own.netloc):
            return (
                None,
                f"the next page lies at another server, {parts.netloc[:100]}, which gets no key and is not asked",
            )
        if not parts.netloc and not url.startswith(("/", "?")):
            return None, f"the next page's mark {url[:50]!r} is no URL: put {{cursor}} into url or parameters"
        # Vendors leave the key out of it; what stands in `parameters` goes with each request.
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        kept = {
            name: filled
            for name, text in self._parameters.items()
            if name not in asked and ("${" in text or name in self._settings.parameters)
            if (filled := self._filled(text)) is not None
        }
        path = parts.path or self._page().path
        return Question(path, {**kept, **asked}, "since" not in self._places), None

    def _comes_again(self, mark: Any, *, times: int) -> bool:
        """Whether this question has come to that page so often."""
        self._marks.append(mark)
        return self._marks.count(mark) >= times


def _steps(path: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path.split(".")) if isinstance(path, str) else path


def _said(body: Any) -> str | None:
    """What an answer says in words."""
    if not isinstance(body, dict):
        return None
    for name, value in body.items():
        if re.sub(r"[^a-z]", "", name.lower()) not in _SAYING:
            continue
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = next((text for text in value.values() if isinstance(text, str)), None)
        if isinstance(value, str) and value:
            return value
    return None
