import math

from marketpulse.web.quote import Quote, Seen


def seen(
    date: int, open_s: int, time_s: int, close: float, *, open_: float = 10.0, high: float = 12.0, low: float = 8.0,
    day: bool = False, volume: float = 1.0,
) -> Seen:  # fmt: skip
    return Seen(date, open_s * 10**9, time_s * 10**9, open_, high, low, close, volume, day)


def quote_of(*bars: Seen) -> Quote:
    quote = Quote()
    for bar in bars:
        quote.take(bar)
    return quote


def test_the_last_price_is_the_newest_whatever_the_order() -> None:
    quote = quote_of(seen(1, 60, 120, 11.0), seen(1, 0, 60, 9.0))
    assert quote.last == 11.0
    quote.take(seen(1, 60, 120, 11.5))  # a revision of the newest bar
    assert quote.last == 11.5
    assert math.isnan(Quote().last)
    assert math.isnan(Quote().reference)


def test_the_change_is_since_the_open_without_an_earlier_session_and_late_history_fills_that_in() -> None:
    quote = quote_of(seen(5, 60, 120, 11.0, open_=10.5), seen(5, 0, 60, 9.0, open_=10.0))
    assert (quote.reference, quote.reference_kind) == (10.0, "session_open")
    late = quote_of(seen(9, 1_000, 1_060, 11.0), seen(3, 0, 60, 3.0), seen(8, 500, 560, 8.0), seen(2, 0, 60, 2.0))
    assert late.reference == 8.0


def test_the_previous_close_is_the_last_price_of_the_session_before() -> None:
    quote = quote_of(seen(5, 0, 60, 9.0), seen(5, 60, 120, 9.5), seen(6, 1_000, 1_060, 11.0))
    assert (quote.reference, quote.reference_kind) == (9.5, "previous_close")
    quote.take(seen(5, 60, 120, 9.25))  # revised later
    assert quote.reference == 9.25


def test_the_days_bar_knows_range_and_volume_best() -> None:
    quote = quote_of(seen(5, 0, 60, 9.0, high=20.0, low=1.0))
    assert quote.session is not None
    assert math.isnan(quote.session.volume)
    quote.take(seen(5, 0, 70, 9.5, high=12.0, low=8.0, volume=500.0, day=True))  # a cancelled trade set 20
    assert (quote.session.high, quote.session.low, quote.session.volume) == (12.0, 8.0, 500.0)
