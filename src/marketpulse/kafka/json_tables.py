"""What the JSON scanner knows about fields: their numbers, how their names look, what each kind needs."""

import numpy as np

from marketpulse.kafka.market_contract import CONTRACT, Rule
from marketpulse.model.market import Ints, Kind

FIELDS = (
    "type", "symbol", "source", "venue", "timeframe", "event_time_ns", "ingest_time_ns", "price", "size", "trade_id",
    "conditions", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "volume", "vwap",
    "trade_count", "open_time_ns", "close_time_ns", "final", "session_date",
)  # fmt: skip
(
    TYPE, SYMBOL, SOURCE, VENUE, TIMEFRAME, EVENT_TIME, INGEST_TIME, PRICE, SIZE, TRADE_ID,
    CONDITIONS, BID, BID_SIZE, ASK, ASK_SIZE, OPEN, HIGH, LOW, CLOSE, VOLUME, VWAP,
    TRADE_COUNT, OPEN_TIME, CLOSE_TIME, FINAL, SESSION_DATE,
) = range(len(FIELDS))  # fmt: skip
OTHER = len(FIELDS)
"""The number that stands for every field that we do not know."""

KEY_MIX = 1424472536483673475  # found by trial: no two of our fields share a slot
KEY_SLOTS = 64


def word_of(text: bytes, place: int) -> int:
    """Eight bytes of the text as `load_word` reads them, zeros behind its end."""
    return int.from_bytes(text[place : place + 8].ljust(8, b"\0"), "little", signed=True)


def _slot(word: int, length: int) -> int:
    product = ((word ^ length) * KEY_MIX) & (2**64 - 1)
    return product >> 58


def key_table() -> Ints:
    """(64, 4): for each slot the key's two words, its length and its field; field OTHER where none is.

    A key's slot follows from its first eight bytes and its length, without collisions.
    """
    table = np.full((KEY_SLOTS, 4), OTHER, np.int64)
    for number, name in enumerate(FIELDS):
        text = name.encode()
        slot = _slot(word_of(text, 0), len(text))
        if table[slot, 3] != OTHER:
            raise AssertionError(f"keys {name} and {FIELDS[table[slot, 3]]} share a slot: change KEY_MIX")
        table[slot] = word_of(text, 0), word_of(text, 8), len(text), number
    return table


def shape_table() -> Ints:
    """(27, 5) by field: the key with its closing quote as two words with their masks, and its length.

    The row of OTHER fits no key.
    """
    table = np.zeros((len(FIELDS) + 1, 5), np.int64)
    table[OTHER, 0] = 1
    for number, name in enumerate(FIELDS):
        text = name.encode() + b'"'
        mask = b"\xff" * len(text)
        table[number] = word_of(text, 0), word_of(mask, 0), word_of(text, 8), word_of(mask, 8), len(name)
    return table


def rule_table() -> Ints:
    """(5, 7) for the kinds up to CLOCK: bit masks of the fields that are required, and of those that must
    be text, whole, a number, true or false, text or whole, a list of texts."""
    table = np.zeros((Kind.CLOCK + 1, 7), np.int64)
    columns = {
        Rule.SYMBOL: 1, Rule.NAME: 1, Rule.DATE: 1, Rule.TIME: 2, Rule.COUNT: 2, Rule.PRICE: 3, Rule.SIZE: 3,
        Rule.FLAG: 4, Rule.ID: 5, Rule.TEXTS: 6,
    }  # fmt: skip
    for kind in range(Kind.CLOCK + 1):
        for name, (rule, required) in CONTRACT[Kind(kind)].items():
            bit = 1 << FIELDS.index(name)
            table[kind, columns[rule]] |= bit
            table[kind, 0] |= bit if required else 0
    return table
