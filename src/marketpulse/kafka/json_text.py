"""Writing JSON's bytes inside kernels: each function writes one value and returns the place behind it."""

import numpy as np

from marketpulse.compiled import inlined
from marketpulse.kafka.shortest import shortest_decimal
from marketpulse.kafka.words import byte_at, load_word, store_word, word_at
from marketpulse.model.market import Bytes

_EACH = 0x0101010101010101
_TOP = -0x7F7F7F7F7F7F7F80  # the highest bit of each byte, as int64
_QUOTES, _SLASHES, _SPACES = _EACH * 0x22, _EACH * 0x5C, _EACH * 0x20
_ZEROS, _ZERO_POINT = _EACH * 0x30, int.from_bytes(b"0.000000", "little")
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_NULL = int.from_bytes(b"null", "little")
_TRUE = int.from_bytes(b"true", "little")
_FALSE = int.from_bytes(b"false", "little")
_SIGN_BIT = -(2**63)
_BEHIND = 56

NUMBER_BYTES_MAX = 28  # the longest number, date or literal
SCRATCH_BYTES = _BEHIND + 8  # what may be written behind the last value


@inlined
def put_null(out: Bytes, place: int) -> int:
    store_word(out, place, _NULL)
    return place + 4


@inlined
def put_flag(out: Bytes, place: int, flag: bool) -> int:
    store_word(out, place, _TRUE if flag else _FALSE)
    return place + 4 if flag else place + 5


@inlined
def _eight_digits(value: int) -> int:
    """A value below 10**8 as eight digits of text in one word."""
    high = value // 10_000
    pairs = high | (value - high * 10_000) << 32
    hundreds = (pairs * 10_486 >> 20) & 0x7F0000007F
    pairs = hundreds | (pairs - hundreds * 100) << 16
    tens = (pairs * 103 >> 10) & 0x000F000F000F000F
    return int((tens | (pairs - tens * 10) << 8) + _ZEROS)


@inlined
def _put_digits(out: Bytes, place: int, value: int) -> int:
    """The digits of a value from 0 to 2**63-1. They are made behind the place, and then moved to it."""
    count = _count_digits(value)
    source = _digits_behind(out, place, value) - count
    for at in range(0, count, 8):
        store_word(out, place + at, load_word(out, source + at))
    return place + count


@inlined
def _digits_behind(out: Bytes, place: int, value: int) -> int:
    """Write the value's digits so that they end at the returned place, some way behind `place`."""
    end = place + _BEHIND
    while value >= 100_000_000:
        rest = value // 100_000_000
        store_word(out, end - 8, _eight_digits(value - rest * 100_000_000))
        end -= 8
        value = rest
    store_word(out, end - 8, _eight_digits(value))
    return place + _BEHIND


@inlined
def _count_digits(value: int) -> int:
    count = 1
    while value >= 10_000:
        value //= 10_000
        count += 4
    return count + (1 if value >= 10 else 0) + (1 if value >= 100 else 0) + (1 if value >= 1_000 else 0)


@inlined
def put_long(out: Bytes, place: int, value: int) -> int:
    if value < 0:
        out[place] = 45
        place += 1
        value = -value
        if value < 0:  # the smallest of all: its positive does not exist
            place = _put_digits(out, place, 922337203685477580)
            out[place] = 56
            return place + 1
    return _put_digits(out, place, value)


@inlined
def put_double(out: Bytes, place: int, bits: int) -> int:
    """The shortest text that reads back as these bits, always with a point or an exponent. The double
    must be finite."""
    if bits < 0:
        out[place] = 45
        place += 1
        bits ^= _SIGN_BIT
    digits, tens = shortest_decimal(bits)
    count = _count_digits(digits)
    point = count + tens  # digits before the decimal point
    if 0 < point < count:
        source = _digits_behind(out, place, digits) - count
        for at in range(0, point, 8):
            store_word(out, place + at, load_word(out, source + at))
        place += point
        out[place] = 46
        for at in range(0, count - point, 8):
            store_word(out, place + 1 + at, load_word(out, source + point + at))
        return place + 1 + count - point
    if point > 17 or point < -4:
        return _put_scientific(out, place, digits, count, point - 1)
    if point > 0:
        place = _put_digits(out, place, digits)
        for _ in range(tens):
            out[place] = 48
            place += 1
        out[place], out[place + 1] = 46, 48
        return place + 2
    store_word(out, place, _ZERO_POINT)
    return _put_digits(out, place + 2 - point, digits)


@inlined
def _put_scientific(out: Bytes, place: int, digits: int, count: int, exponent: int) -> int:
    end = _put_digits(out, place + 1, digits)
    out[place] = out[place + 1]
    if count == 1:
        end = place + 1
    else:
        out[place + 1] = 46
    out[end] = 101
    out[end + 1] = 45 if exponent < 0 else 43
    return _put_digits(out, end + 2, -exponent if exponent < 0 else exponent)


@inlined
def _put_two(out: Bytes, place: int, value: int) -> None:
    out[place] = 48 + value // 10
    out[place + 1] = 48 + value % 10


@inlined
def put_date(out: Bytes, place: int, days: int) -> int:
    """ "YYYY-MM-DD" of days since 1970-01-01, for years 0001 to 9999; null for others."""
    if days < -719_162 or days > 2_932_896:
        return put_null(out, place)
    shifted = days + 719_468  # days since 0000-03-01: leap days come last
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    out[place] = 34
    civil_month = month + 3 if month < 10 else month - 9
    year += era * 400 + (1 if civil_month <= 2 else 0)
    _put_two(out, place + 1, year // 100)
    _put_two(out, place + 3, year % 100)
    out[place + 5] = 45
    _put_two(out, place + 6, civil_month)
    out[place + 8] = 45
    _put_two(out, place + 9, day_of_year - (153 * month + 2) // 5 + 1)
    out[place + 11] = 34
    return place + 12


@inlined
def put_padded(out: Bytes, place: int, address: int, length: int) -> int:
    """As `put_raw`, for memory that may be read seven bytes beyond its end."""
    for at in range(0, length, 8):
        store_word(out, place + at, word_at(address + at))
    return place + length


@inlined
def put_raw(out: Bytes, place: int, address: int, length: int) -> int:
    """`length` bytes of memory as they are."""
    end = place + length
    while end - place >= 8:
        store_word(out, place, word_at(address))
        place += 8
        address += 8
    while place < end:
        out[place] = byte_at(address) & 255
        place += 1
        address += 1
    return end


@inlined
def put_text(out: Bytes, place: int, address: int, length: int) -> int:
    """UTF-8 as a JSON string: quotes, backslashes and control characters escaped."""
    out[place] = 34
    place += 1
    end = address + length
    while address < end:
        if end - address >= 8:
            word = word_at(address)
            quote, slash = word ^ _QUOTES, word ^ _SLASHES
            special = ((quote - _EACH) & ~quote) | ((slash - _EACH) & ~slash) | ((word - _SPACES) & ~word)
            if special & _TOP == 0:
                store_word(out, place, word)
                address += 8
                place += 8
                continue
        byte = byte_at(address) & 255
        address += 1
        if byte < 32:
            place = _put_escape(out, place, byte)
        else:
            if byte == 34 or byte == 92:
                out[place] = 92
                place += 1
            out[place] = byte
            place += 1
    out[place] = 34
    return place + 1


@inlined
def _put_escape(out: Bytes, place: int, byte: int) -> int:
    out[place], out[place + 1], out[place + 2], out[place + 3] = 92, 117, 48, 48
    out[place + 4], out[place + 5] = _HEX[byte >> 4], _HEX[byte & 15]
    return place + 6
