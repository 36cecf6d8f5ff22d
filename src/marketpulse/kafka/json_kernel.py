"""The fast way in: one compiled scan from joined JSON objects into columns.

It takes a record only when everything about it is plain: a flat object, known fields once each,
printable ASCII texts without escapes, numbers whose conversion is exact. Whatever else it meets, it
marks as ODD and leaves to the authority (market_contract.py), so both ways always agree.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.kafka.columns import KIND, Columns
from marketpulse.kafka.json_bytes import (
    CLOSES,
    COLON,
    COMMA,
    LIST_OPENS,
    OPENS,
    QUOTE,
    after_space,
    literal_at,
    number_at,
    text_end,
    texts_end,
)
from marketpulse.kafka.json_rows import (
    ODD,
    TAKEN,
    keeps_types,
    take_bar,
    take_names,
    take_quote,
    take_times,
    take_trade,
)
from marketpulse.kafka.json_tables import (
    CONDITIONS,
    FIELDS,
    KEY_MIX,
    KEY_SLOTS,
    OTHER,
    TYPE,
    key_table,
    rule_table,
    shape_table,
    word_of,
)
from marketpulse.kafka.names import FULL, NameTable
from marketpulse.kafka.words import load_byte, load_word
from marketpulse.model.market import RECORD_BYTES_MAX, Bytes, Floats, Ids, Ints

NO_OBJECT = 2
"""A record's status beside TAKEN (it is in the columns) and ODD: its first byte opens no object."""

__all__ = ["NO_OBJECT", "ODD", "TAKEN", "ScanTables", "scan_records"]

_TRADE_WORD, _QUOTE_WORD, _CLOCK_WORD, _BAR_WORD, _HEARTBEAT_WORD = (
    word_of(name, 0) for name in (b"trade", b"quote", b"clock", b"bar", b"heartbeat")
)


class ScanTables:
    """What a scan looks things up in, and its scratch."""

    def __init__(self) -> None:
        cells = len(FIELDS) + 1
        self.keys = key_table()
        self.shapes = shape_table()
        self.after: Ints = np.full(cells, OTHER, np.int64)  # the field that followed each one last time
        self.rules = rule_table()
        self.spans: Ints = np.zeros((cells, 2), np.int64)
        self.wholes: Ints = np.zeros(cells, np.int64)
        self.reals: Floats = np.zeros(cells)

    def scan(
        self, data: Bytes, ends: Ints, first: int, status: NDArray[np.int8], columns: Columns, names: NameTable
    ) -> int:
        """`scan_records` with these tables."""
        return scan_records(
            data, ends, first, self.keys, self.shapes, self.after, self.rules, self.spans, self.wholes, self.reals,
            status, columns.floats, columns.longs, columns.ids, columns.flags,
            names.slots, names.entries, names.pool, names.counts,
        )  # fmt: skip


@inlined
def _field(data: Bytes, begin: int, end: int, keys: Ints) -> int:
    """The number of the field of this name, or OTHER."""
    length = end - begin
    first = load_word(data, begin)
    second = 0
    if length < 8:
        first &= (1 << (length * 8)) - 1
    elif 8 < length < 16:
        second = load_word(data, begin + 8) & ((1 << ((length - 8) * 8)) - 1)
    slot = (((first ^ length) * KEY_MIX) >> 58) & (KEY_SLOTS - 1)
    if keys[slot, 0] == first and keys[slot, 1] == second and keys[slot, 2] == length:
        return int(keys[slot, 3])
    return OTHER


@inlined
def _key(data: Bytes, begin: int, previous: int, keys: Ints, shapes: Ints, after: Ints) -> tuple[int, int]:
    """(the key's closing quote, its field). Records mostly repeat the order of their fields, so the
    field that followed the previous one last time is tried first; place -1 if the key is not plain."""
    guess = after[previous]
    if (load_word(data, begin) & shapes[guess, 1]) == shapes[guess, 0] and (
        load_word(data, begin + 8) & shapes[guess, 3]
    ) == shapes[guess, 2]:
        return begin + shapes[guess, 4], guess
    end = text_end(data, begin)
    if end < 0:
        return -1, OTHER
    field = _field(data, begin, end, keys)
    after[previous] = field
    return end, field


@inlined
def _scan_object(
    data: Bytes, place: int, end: int, keys: Ints, shapes: Ints, after: Ints, spans: Ints, wholes: Ints,
    reals: Floats,
) -> tuple[bool, int, int, int, int, int, int]:  # fmt: skip
    """(plain, and the masks of fields that are text, whole, a number, true, false, a list of texts).

    `spans` (27, 2) receives where values begin and end, `wholes` and `reals` (27,) the numbers.
    """
    refused = (False, 0, 0, 0, 0, 0, 0)
    seen = text = whole = number = true = false = texts = 0
    place = after_space(data, place + 1)
    field = OTHER
    while load_byte(data, place) == QUOTE:
        place, field = _key(data, place + 1, field, keys, shapes, after)
        bit = 0 if field == OTHER else 1 << field
        if place < 0 or seen & bit:
            return refused
        seen |= bit
        place = after_space(data, place + 1)
        if load_byte(data, place) != COLON:
            return refused
        place = after_space(data, place + 1)
        byte = load_byte(data, place)
        spans[field, 0] = place
        if byte == QUOTE:
            spans[field, 0] = place + 1
            place = text_end(data, place + 1)
            spans[field, 1] = place
            if place < 0:
                return refused
            text |= bit
            place += 1
        elif byte < 58:
            place, is_whole, wholes[field], reals[field] = number_at(data, place)
            spans[field, 1] = place
            number |= bit
            whole |= bit if is_whole else 0
        elif byte == LIST_OPENS and field == CONDITIONS:
            place = texts_end(data, place)
            spans[field, 1] = place
            texts |= bit
        else:
            place, found = literal_at(data, place)
            true |= bit if found == 1 else 0
            false |= bit if found == 2 else 0
        if place < 0:
            return refused
        place = after_space(data, place)
        if load_byte(data, place) != COMMA:
            break
        place = after_space(data, place + 1)
        if load_byte(data, place) != QUOTE:
            return refused
    if load_byte(data, place) != CLOSES:
        return refused
    place += 1
    if place < end:
        place = after_space(data, place)
    return place == end, text, whole, number, true, false, texts


@inlined
def _kind(data: Bytes, begin: int, end: int) -> int:
    """The hot kind of this name, or -1."""
    word = load_word(data, begin)
    length = end - begin
    if length == 5:
        word &= 0xFFFFFFFFFF
        if word == _TRADE_WORD:
            return 0
        if word == _QUOTE_WORD:
            return 1
        return 4 if word == _CLOCK_WORD else -1
    if length == 3:
        return 2 if word & 0xFFFFFF == _BAR_WORD else -1
    return 3 if length == 9 and word == _HEARTBEAT_WORD and load_byte(data, begin + 8) == ord("t") else -1


@bare_kernel
def scan_records(
    data: Bytes, ends: Ints, first: int, keys: Ints, shapes: Ints, after: Ints, rules: Ints, spans: Ints,
    wholes: Ints, reals: Floats, status: NDArray[np.int8], floats: Floats, longs: Ints, ids: Ids,
    flags: NDArray[np.int8], slots: Ids, entries: Ints, pool: Bytes, counts: Ints,
) -> int:  # fmt: skip
    """Scan the records from `first` on into the columns; record i is `data[ends[i]:ends[i+1]]`.

    `status` (n,) receives TAKEN, ODD or NO_OBJECT. Returns the record to go on with: n when all are
    done, less when the name tables are full (grow them and call again).
    """
    for row in range(first, len(status)):
        begin, end = ends[row], ends[row + 1]
        status[row] = NO_OBJECT
        if begin == end:
            continue
        place = after_space(data, begin)
        if place > begin:
            status[row] = ODD
        if place >= end or load_byte(data, place) != OPENS:
            continue
        status[row] = ODD
        if end - begin > RECORD_BYTES_MAX:
            continue
        plain, text, whole, number, true, false, texts = _scan_object(
            data, place, end, keys, shapes, after, spans, wholes, reals
        )
        if not plain or not text >> TYPE & 1:
            continue
        kind = _kind(data, spans[TYPE, 0], spans[TYPE, 1])
        if kind < 0 or not keeps_types(rules, kind, text, whole, number, true | false, texts):
            continue
        has = text | number | texts
        good = take_times(row, kind, has, wholes, longs)
        if kind == 0:
            good = good and take_trade(row, has, spans, reals, floats, longs, ids)
        elif kind == 1:
            good = good and take_quote(row, reals, floats)
        elif kind == 2:
            good = good and take_bar(row, has, false, data, spans, wholes, reals, floats, longs, ids, flags)
        if good:
            flags[KIND, row] = kind
            taken = take_names(row, kind, text, data, spans, ids, slots, entries, pool, counts)
            if taken == FULL:
                return row
            status[row] = taken
    return len(status)
