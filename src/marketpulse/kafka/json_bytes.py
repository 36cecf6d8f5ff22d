"""Reading JSON's bytes inside kernels: texts, numbers, literals, dates. Each says when it is not plain."""

import numpy as np

from marketpulse.compiled import inlined
from marketpulse.kafka.words import load_byte, load_word, trailing_zeros
from marketpulse.model.market import ABSENT, Bytes

QUOTE, SLASH, COMMA, COLON, OPENS, CLOSES, MINUS, POINT, LIST_OPENS, LIST_CLOSES = (ord(c) for c in '"\\,:{}-.[]')
_EACH = 0x0101010101010101
_TOP = -0x7F7F7F7F7F7F7F80  # the highest bit of each byte, as int64
_QUOTES, _SLASHES, _DELETES, _SPACES = _EACH * 0x22, _EACH * 0x5C, _EACH * 0x7F, _EACH * 0x20
_HIGH_NIBBLES, _SIXES, _THREES = -0x0F0F0F0F0F0F0F10, _EACH * 6, _EACH * 0x33
_TENS = np.array([10.0**i for i in range(23)])  # exact doubles
_EXACT = 2**53
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


@inlined
def text_end(data: Bytes, begin: int) -> int:
    """The closing quote of the text that begins here; -1 if it is not plain printable ASCII."""
    for place in range(begin, len(data), 8):
        word = load_word(data, place)
        quote, slash, delete = word ^ _QUOTES, word ^ _SLASHES, word ^ _DELETES
        special = (
            ((quote - _EACH) & ~quote)
            | ((slash - _EACH) & ~slash)
            | ((delete - _EACH) & ~delete)
            | ((word - _SPACES) & ~word)
            | word
        ) & _TOP
        if special != 0:
            end = place + (trailing_zeros(special) >> 3)
            return end if load_byte(data, end) == QUOTE else -1
    return -1


@inlined
def after_space(data: Bytes, place: int) -> int:
    byte = load_byte(data, place)
    while byte <= 32 and (byte == 32 or byte == 10 or byte == 13 or byte == 9):
        place += 1
        byte = load_byte(data, place)
    return place


@inlined
def digits(data: Bytes, place: int, value: int) -> tuple[int, int]:
    """(place behind the digits, value followed by them); stops after 24 digits."""
    limit = place + 24
    while place < limit:
        word = load_word(data, place)
        if ((word & _HIGH_NIBBLES) | (((word + _SIXES) & _HIGH_NIBBLES) >> 4)) != _THREES:
            break
        word = (word & 0x0F0F0F0F0F0F0F0F) * 2561 >> 8
        word = (word & 0x00FF00FF00FF00FF) * 6553601 >> 16
        value = value * 100_000_000 + ((word & 0x0000FFFF0000FFFF) * 42949672960001 >> 32)
        place += 8
    while place < limit:
        digit = load_byte(data, place) - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        place += 1
    return place, value


@inlined
def number_at(data: Bytes, place: int) -> tuple[int, bool, int, float]:
    """(place behind it, whether it is whole, its whole value, its value); place -1 if not exact here."""
    refused = (-1, False, 0, 0.0)
    negative = load_byte(data, place) == MINUS
    begin = place + 1 if negative else place
    place, value = digits(data, begin, 0)
    count = place - begin
    if count == 0 or (count > 1 and load_byte(data, begin) == 48):
        return refused
    power = 0
    byte = load_byte(data, place)
    whole = byte != POINT and byte | 32 != 101
    if byte == POINT:
        fraction = place + 1
        place, value = digits(data, fraction, value)
        power = fraction - place
        if power == 0:
            return refused
        count -= power
    if count > 19 or value < 0 or (negative and value == 0):
        return refused
    if load_byte(data, place) | 32 == 101:
        sign = load_byte(data, place + 1)
        begin = place + 2 if sign == MINUS or sign == 43 else place + 1
        place, exponent = digits(data, begin, 0)
        if place == begin or place - begin > 4:
            return refused
        power += -exponent if sign == MINUS else exponent
    real = float(value)
    if not whole:
        if value > _EXACT or power < -22 or power > 22:
            return refused
        real = real / _TENS[-power] if power < 0 else real * _TENS[power]
    return place, whole, -value if negative else value, -real if negative else real


@inlined
def literal_at(data: Bytes, place: int) -> tuple[int, int]:
    """(place behind it, 0 null, 1 true, 2 false); place -1 for anything else."""
    word = load_word(data, place)
    if word & 0xFFFFFFFF == 0x6C6C756E:
        return place + 4, 0
    if word & 0xFFFFFFFF == 0x65757274:
        return place + 4, 1
    if word & 0xFFFFFFFFFF == 0x65736C6166:
        return place + 5, 2
    return -1, 0


@inlined
def texts_end(data: Bytes, place: int) -> int:
    """Behind the list of plain texts that opens at `place`; -1 for anything else."""
    place = after_space(data, place + 1)
    if load_byte(data, place) == LIST_CLOSES:
        return place + 1
    while load_byte(data, place) == QUOTE:
        end = text_end(data, place + 1)
        if end < 0:
            return -1
        place = after_space(data, end + 1)
        if load_byte(data, place) == LIST_CLOSES:
            return place + 1
        if load_byte(data, place) != COMMA:
            return -1
        place = after_space(data, place + 1)
    return -1


@inlined
def days_at(data: Bytes, begin: int, end: int) -> int:
    """Days since 1970-01-01 of "YYYY-MM-DD" from 1970-01-02 to 2199-12-31; ABSENT for anything else."""
    if end - begin != 10 or load_byte(data, begin + 4) != MINUS or load_byte(data, begin + 7) != MINUS:
        return ABSENT
    year_end, year = digits(data, begin, 0)
    month_end, month = digits(data, begin + 5, 0)
    day_end, day = digits(data, begin + 8, 0)
    if year_end != begin + 4 or month_end != begin + 7 or day_end != end:
        return ABSENT
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    if year < 1970 or year > 2199 or month < 1 or month > 12 or day < 1:
        return ABSENT
    if day > _MONTH_DAYS[month - 1] + (1 if leap and month == 2 else 0):
        return ABSENT
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162 + day - 1
    for earlier in range(month - 1):
        days += _MONTH_DAYS[earlier]
    if leap and month > 2:
        days += 1
    return days if days > 0 else ABSENT
