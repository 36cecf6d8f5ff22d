"""A polite client for vendors that are asked by REST.

    budget of the day, rate, the pause after a fault -> GET -> judged -> answer
                                                             \\-> TryLater, WrongKey, Refused

It never asks before it may: a call that comes too early raises TryLater at once (or waits, with `patience_s`), so
a caller that retries too eagerly makes no storm. No key stands in anything that it raises, logs or shows.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from marketpulse.clock import Clock, SystemClock
from marketpulse.errors import ParameterError, WrongKey
from marketpulse.foreign_json import parse_json
from marketpulse.sources.rest.answer import Answer, Judge, Judgement, Taken, by_the_status, judge_status
from marketpulse.sources.rest.backoff import Backoff, retry_after_s
from marketpulse.sources.rest.budget import Budget
from marketpulse.sources.rest.faults import Refused, TryLater
from marketpulse.sources.rest.limits import Bucket, Rate
from marketpulse.sources.rest.secret import Key, Veil
from marketpulse.telemetry import REST_BUDGET, REST_BUDGET_LEFT, REST_REQUESTS, get_logger

BODY_BYTES_MAX = 32 << 20
_SHOWN_CHARACTERS = 200
_KEPT_BYTES = 4_096
_NAP_S = 0.5
_CONNECT_S = 10.0


class RestClient:
    """One vendor with one key. For several threads; `close` it.

    `judge` reads the vendor's own signs in an answer (limits that come with status 200 and so on). `headers` go
    with every request. `secrets` stand in headers, paths or parameters of who asks, and are shown nowhere either.
    `alive` is called while it waits.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        rate: Rate,
        *,
        more_rates: Sequence[Rate] = (),
        key: Key | None = None,
        secrets: Sequence[Key] = (),
        budget: Budget | None = None,
        judge: Judge = by_the_status,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 20.0,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._key = key
        self._veil = Veil(key, *secrets)
        self._judge = judge
        self._clock = clock or SystemClock()
        self._buckets = [Bucket(each, self._clock) for each in (rate, *more_rates)]
        self._budget = budget
        if budget is not None:
            self._tell_budget(budget)
        self._backoff = backoff or Backoff(rng=random.Random())
        self._alive = alive
        self._not_before = -1e18  # seconds, monotonic
        self._why = ""
        self._stopped: str | None = None
        self._lock = threading.Lock()
        # httpx tells every URL, key and all, to whoever listens at level INFO.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        parts = urlsplit(base_url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ParameterError(f"{source}: {base_url!r} is not the URL of a server: it begins with https://")
        try:
            self._http = httpx.Client(
                base_url=base_url,
                headers={"User-Agent": "marketpulse", **(headers or {}), **(key.headers() if key else {})},
                timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
                follow_redirects=False,  # a key goes nowhere but where it was sent
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:  # ImportError: a SOCKS proxy without its package
            raise ParameterError(
                f"{source}: the URL {base_url!r}, or a proxy in the environment, cannot be used: {error}"
            ) from None

    def ready_in_s(self, cost: int = 1) -> float:
        """Seconds until a request may go out; 0.0: now. Raises WrongKey once the key was refused."""
        return self._wait(cost)[0]

    def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        cost: int = 1,
        patience_s: float = 0.0,
        stop: threading.Event | None = None,
    ) -> Answer:
        """Ask. With `patience_s`, waits and asks again for that long, or until `stop`.

        Raises TryLater (too early, or a fault that passes), WrongKey, Refused.
        """
        deadline = self._clock.monotonic() + patience_s
        while True:
            try:
                return self._get(path, dict(parameters or {}), cost)
            except TryLater as error:
                until = self._clock.monotonic() + error.retry_in_s
                if until > deadline or not self._sleep_until(until, stop):
                    raise

    def close(self) -> None:
        self._http.close()

    def __repr__(self) -> str:
        return f"RestClient({self._source!r}, {self._veil.text(str(self._http.base_url))!r})"

    # --- when ---

    def _wait(self, cost: int) -> tuple[float, str]:
        """(seconds until a request may go out, what it waits for)."""
        if self._stopped is not None:
            raise WrongKey(self._stopped)
        waits = [
            (self._not_before - self._clock.monotonic(), self._why),
            *((bucket.wait_s(cost), "the vendor's rate") for bucket in self._buckets),
        ]
        if self._budget is not None:
            waits.append((self._budget.wait_s(cost), "the day's budget"))
        wait, why = max(waits)
        return max(0.0, wait), why

    def _enter(self, cost: int) -> None:
        """Take tokens and budget for one request. Raises TryLater when it is too early."""
        with self._lock:
            wait, why = self._wait(cost)
            if wait <= 0 and all(bucket.take(cost) for bucket in self._buckets):
                if self._budget is not None:
                    self._budget.spend(cost)
                    self._tell_budget(self._budget)
                return
        raise TryLater(f"{self._source}: not asked, {why}: again in {wait:.1f} s", wait)

    def _tell_budget(self, budget: Budget) -> None:
        REST_BUDGET.labels(self._source).set(budget.per_day)
        REST_BUDGET_LEFT.labels(self._source).set(budget.left())

    def _sleep_until(self, until: float, stop: threading.Event | None) -> bool:
        """Sleep; False: asked to stop."""
        while (left := until - self._clock.monotonic()) > 1e-9:
            if stop is not None and stop.is_set():
                return False
            self._alive()
            self._clock.sleep(min(left, _NAP_S))
        return True

    # --- one request ---

    def _get(self, path: str, parameters: dict[str, str], cost: int) -> Answer:
        self._enter(cost)
        asked = self._veil.text(path) + (f"?{self._veil.parameters(parameters)}" if parameters else "")
        try:
            response, raw = self._send(path, parameters)
        except httpx.InvalidURL as error:
            self._count(Taken.REFUSED)
            raise Refused(f"{self._source}: {asked}: {self._veil.text(str(error))}", 0) from None
        except httpx.HTTPError as error:
            what = self._veil.text(str(error)) or type(error).__name__
            raise self._pause(Judgement(Taken.FAILED, f"no whole answer ({what})"), asked) from None
        received_ns = self._clock.now_ns()
        raw = self._veil.data(raw)  # what a vendor repeats of the key goes no further: rows become dead letters
        body = _json(raw)
        judged = self._judge(response.status_code, body) or judge_status(response.status_code, body is not None)
        if judged.taken == Taken.GOOD:
            self._count(judged.taken)
            with self._lock:
                self._backoff.reset()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(body, raw, headers, received_ns)
        raise self._fault(judged, response, raw, body, asked)

    def _send(self, path: str, parameters: dict[str, str]) -> tuple[httpx.Response, bytes]:
        """The answer and its bytes, decompressed. Raises httpx.HTTPError, for an answer beyond the bound too."""
        whole = {**parameters, **(self._key.parameters() if self._key else {})}
        # Without parameters the path may carry its own; httpx would remove them for an empty dictionary.
        with self._http.stream("GET", path, params=whole or None) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise httpx.ReadError(f"an answer of more than {BODY_BYTES_MAX >> 20} MiB")
        return response, b"".join(parts)

    def _fault(
        self, judged: Judgement, response: httpx.Response, raw: bytes, body: Any, asked: str
    ) -> TryLater | WrongKey | Refused:
        """What to raise for an answer that is not good."""
        said = self._said(raw, body)
        message = f"{judged.message}: status {response.status_code}{said}"
        if judged.taken == Taken.KEY:
            self._count(Taken.KEY)
            self._stopped = (
                f"{self._source} does not accept the key ({message}): set the right one in the environment or in "
                "`.env`, and start this source again; it asks no more until then"
            )
            return WrongKey(self._stopped)
        if judged.taken == Taken.REFUSED:
            self._count(Taken.REFUSED)
            return Refused(f"{self._source}: {asked}: {message}", response.status_code, raw[:_KEPT_BYTES])
        asked_for = retry_after_s(
            response.headers.get("retry-after"), self._clock.now_ns(), response.headers.get("date")
        )
        known = [s for s in (asked_for, judged.retry_in_s) if s is not None]
        return self._pause(Judgement(judged.taken, message, max(known, default=0.0)), asked)

    def _pause(self, judged: Judgement, asked: str) -> TryLater:
        """Nothing is asked for a while."""
        self._count(judged.taken)
        with self._lock:
            wait = self._backoff.next_s(judged.retry_in_s or 0.0)
            until = self._clock.monotonic() + wait
            if until > self._not_before:
                self._not_before = until
                self._why = "a limit" if judged.taken == Taken.LIMIT else "a fault of the far end"
        get_logger().info("rest_pause", source=self._source, asked=asked, why=judged.message, wait_s=round(wait, 1))
        return TryLater(f"{self._source}: {asked}: {judged.message}; again in {wait:.1f} s", wait)

    def _said(self, raw: bytes, body: Any) -> str:
        """The beginning of what a vendor says, without the key; nothing of a page of HTML."""
        if body is None and raw.lstrip()[:1] == b"<":
            return ", a page of HTML"
        text = " ".join(raw.decode("utf-8", "replace").split())
        return f", {text[:_SHOWN_CHARACTERS]!r}" if text else ""

    def _count(self, taken: Taken) -> None:
        REST_REQUESTS.labels(self._source, taken.value).inc()


def _json(raw: bytes) -> Any:
    """The value; None for what is no JSON, or for `null`."""
    try:
        return parse_json(raw)
    except orjson.JSONDecodeError:
        return None
