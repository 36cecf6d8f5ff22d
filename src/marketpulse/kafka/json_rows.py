"""From one scanned object into its row of the columns, inside kernels. Each says whether all was right."""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import inlined
from marketpulse.kafka import columns as into
from marketpulse.kafka import json_tables as fields
from marketpulse.kafka.json_bytes import days_at
from marketpulse.kafka.market_contract import NAME_BYTES_MAX
from marketpulse.kafka.names import FULL, intern_name
from marketpulse.model.market import (
    ABSENT,
    EARLIEST_TIME_NS,
    LATEST_TIME_NS,
    PRICE_MAX,
    SIZE_MAX,
    Bytes,
    Floats,
    Ids,
    Ints,
)

TAKEN, ODD = 0, 1


@inlined
def keeps_types(rules: Ints, kind: int, text: int, whole: int, number: int, flag: int, texts: int) -> bool:
    """Whether every field of this kind has its type, and the required ones are there.

    The masks say which fields are text, whole, a number, true or false, a list of texts.
    """
    there = text | number | flag | texts
    faults = (
        (rules[kind, 0] & ~there)
        | (there & rules[kind, 1] & ~text)
        | (there & rules[kind, 2] & ~whole)
        | (there & rules[kind, 3] & ~number)
        | (there & rules[kind, 4] & ~flag)
        | (there & rules[kind, 5] & ~(text | whole))
        | (there & rules[kind, 6] & ~texts)
    )
    return bool(faults == 0)


@inlined
def _can_be(time_ns: int) -> bool:
    return EARLIEST_TIME_NS <= time_ns <= LATEST_TIME_NS


@inlined
def take_trade(row: int, has: int, spans: Ints, reals: Floats, floats: Floats, longs: Ints, ids: Ids) -> bool:
    """`has` is the mask of fields that are text, a number or a list; lists of conditions stay spans."""
    price, size = reals[fields.PRICE], reals[fields.SIZE]
    floats[into.A, row] = price
    floats[into.B, row] = size
    begin, length = 0, ABSENT
    if has >> fields.TRADE_ID & 1:
        begin = spans[fields.TRADE_ID, 0]
        length = spans[fields.TRADE_ID, 1] - begin
    longs[into.TRADE_ID_START, row] = begin
    ids[into.TRADE_ID_LENGTH, row] = length
    longs[into.CONDITIONS_START, row] = ABSENT
    if has >> fields.CONDITIONS & 1:
        longs[into.CONDITIONS_START, row] = spans[fields.CONDITIONS, 0]
        longs[into.CONDITIONS_END, row] = spans[fields.CONDITIONS, 1]
    return bool(0.0 < price <= PRICE_MAX and 0.0 <= size <= SIZE_MAX and length != 0)


@inlined
def take_quote(row: int, reals: Floats, floats: Floats) -> bool:
    bid, bid_size, ask, ask_size = (
        reals[fields.BID],
        reals[fields.BID_SIZE],
        reals[fields.ASK],
        reals[fields.ASK_SIZE],
    )
    floats[into.A, row] = bid
    floats[into.B, row] = bid_size
    floats[into.C, row] = ask
    floats[into.D, row] = ask_size
    return bool(
        0.0 < bid <= PRICE_MAX
        and 0.0 < ask <= PRICE_MAX
        and 0.0 <= bid_size <= SIZE_MAX
        and 0.0 <= ask_size <= SIZE_MAX
    )


@inlined
def take_bar(
    row: int, has: int, falses: int, data: Bytes, spans: Ints, wholes: Ints, reals: Floats, floats: Floats,
    longs: Ints, ids: Ids, flags: NDArray[np.int8],
) -> bool:  # fmt: skip
    first, high, low, last = reals[fields.OPEN], reals[fields.HIGH], reals[fields.LOW], reals[fields.CLOSE]
    good = 0.0 < low <= high <= PRICE_MAX
    good = good and 0.0 < first <= PRICE_MAX and 0.0 < last <= PRICE_MAX
    floats[into.A, row] = first
    floats[into.B, row] = high
    floats[into.C, row] = low
    floats[into.D, row] = last
    floats[into.E, row] = np.nan
    if has >> fields.VOLUME & 1:
        floats[into.E, row] = reals[fields.VOLUME]
        good = good and 0.0 <= reals[fields.VOLUME] <= SIZE_MAX
    floats[into.F, row] = np.nan
    if has >> fields.VWAP & 1:
        floats[into.F, row] = reals[fields.VWAP]
        good = good and 0.0 < reals[fields.VWAP] <= PRICE_MAX
    longs[into.TRADE_COUNT, row] = ABSENT
    if has >> fields.TRADE_COUNT & 1:
        longs[into.TRADE_COUNT, row] = wholes[fields.TRADE_COUNT]
        good = good and wholes[fields.TRADE_COUNT] >= 0
    ids[into.SESSION_DATE, row] = ABSENT
    if has >> fields.SESSION_DATE & 1:
        days = days_at(data, spans[fields.SESSION_DATE, 0], spans[fields.SESSION_DATE, 1])
        ids[into.SESSION_DATE, row] = days
        good = good and days != ABSENT
    longs[into.OPEN_TIME, row] = wholes[fields.OPEN_TIME]
    longs[into.CLOSE_TIME, row] = wholes[fields.CLOSE_TIME]
    flags[into.FINAL, row] = 0 if falses >> fields.FINAL & 1 else 1
    timed = has >> fields.OPEN_TIME & has >> fields.CLOSE_TIME & 1  # bars of a date only are the authority's
    return bool(
        good
        and timed == 1
        and _can_be(wholes[fields.OPEN_TIME])
        and _can_be(wholes[fields.CLOSE_TIME])
        and wholes[fields.OPEN_TIME] < wholes[fields.CLOSE_TIME]
    )


@inlined
def take_names(
    row: int, kind: int, text: int, data: Bytes, spans: Ints, ids: Ids, slots: Ids, entries: Ints, pool: Bytes,
    counts: Ints,
) -> int:  # fmt: skip
    """Intern the row's names: TAKEN, ODD (one is too long or empty), or FULL when the tables are full."""
    wanted = text & (1 << fields.SOURCE)
    if kind <= 2:
        wanted |= text & (1 << fields.SYMBOL | 1 << fields.VENUE)
    if kind == 2:
        wanted |= text & (1 << fields.TIMEFRAME)
    for field in range(fields.SYMBOL, fields.TIMEFRAME + 1):
        length = spans[field, 1] - spans[field, 0]
        if wanted >> field & 1 and (length < 1 or length > NAME_BYTES_MAX):
            return ODD
    for field in range(fields.SYMBOL, fields.TIMEFRAME + 1):
        column = into.SYMBOL + field - fields.SYMBOL
        found = ABSENT
        if wanted >> field & 1:
            found = intern_name(data, spans[field, 0], spans[field, 1], slots, entries, pool, counts)
            if found == FULL:
                return FULL
        ids[column, row] = found
    return TAKEN


@inlined
def take_times(row: int, kind: int, has: int, wholes: Ints, longs: Ints) -> bool:
    good = True
    longs[into.EVENT_TIME, row] = ABSENT
    if has >> fields.EVENT_TIME & 1:
        longs[into.EVENT_TIME, row] = wholes[fields.EVENT_TIME]
        good = _can_be(wholes[fields.EVENT_TIME])
    longs[into.INGEST_TIME, row] = ABSENT
    if kind <= 2 and has >> fields.INGEST_TIME & 1:
        longs[into.INGEST_TIME, row] = wholes[fields.INGEST_TIME]
        good = good and _can_be(wholes[fields.INGEST_TIME])
    return good
