"""The rules of data quality by name, and what may become of a row that one finds."""

SEVERITIES = ("off", "count", "mark", "drop")
"""Not looked for; counted; counted and told, the row stays; the row goes to the dead letters whole."""

RULES = {
    "price_unit": "the price is about 100 or 1,000 times its level, or that part of it: another unit",
    "price_band": "the price is outside the band around its level",
    "price_spike": "the bar before leapt, and this one is back where it was",
    "bar_range": "the bar's open, high or low is far from its other prices",
    "size_outlier": "the size or volume is out of all proportion to its median",
    "stale": "the same values came again and again",
    "crossed_quote": "the bid is above the ask",
    "out_of_session": "a bar on a day that its calendar has no session on",
    "missing_bars": "bars are missing before this one, in a series that has nearly all of them",
    "split": "the price leapt by a split's ratio: the rows before it are not adjusted",
    "dividend": "the dividend does not fit the price, or those before it",
    "ohlc": "the bar's open or close lies outside of its high and low",
}
(
    PRICE_UNIT, PRICE_BAND, PRICE_SPIKE, BAR_RANGE, SIZE_OUTLIER, STALE, CROSSED_QUOTE, OUT_OF_HOURS, MISSING_BARS,
    SPLIT, DIVIDEND, OHLC,
) = range(len(RULES))  # fmt: skip

NEVER_DROPPED = frozenset({"price_spike", "out_of_session", "missing_bars", "split", "dividend"})
"""What they find is another row's fault, or none that leaving this row out would mend."""

DEFAULT_SEVERITY = dict.fromkeys(RULES, "mark") | {"crossed_quote": "count"}

DEFAULT_LIMITS = {
    "warm_trades": 20.0,
    "confirm_trades": 5.0,
    "confirm_bars": 3.0,
    "band": 0.05,
    "reopen_band": 0.75,
    "reopen_s": 600.0,
    "band_factor": 30.0,
    "range_factor": 20.0,
    "spike_factor": 12.0,
    "size_factor": 100_000.0,
    "volume_factor": 1_000.0,
    "stale_trades": 500.0,
    "stale_bars": 3.0,
    "dense_bars": 20.0,
    "dividend_max": 1.0,
}
(
    WARM_TRADES, CONFIRM_TRADES, CONFIRM_BARS, BAND, REOPEN_BAND, REOPEN_S, BAND_FACTOR, RANGE_FACTOR, SPIKE_FACTOR, SIZE_FACTOR,
    VOLUME_FACTOR, STALE_TRADES, STALE_BARS, DENSE_BARS, DIVIDEND_MAX,
) = range(len(DEFAULT_LIMITS))  # fmt: skip
