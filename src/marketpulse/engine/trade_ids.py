"""Finding a trade of the window by its id: an open hash table of places in `Tables.window`.

Beside each place stand 32 bits of the id's hash. So the window, which is far larger than the processor's caches, is
only looked into where the id is most likely there, and not at all where the table grows. An id of up to 15 bytes is
its own key, so those are compared exactly; of a longer one the key is a hash of 120 bits.
"""

import numpy as np
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.engine.layout import N_KEPT, Tables

_EXACT_BYTES = 15
_HASHED = 255  # in the place of the length
_FREE = -1
_PLACE_BITS = 32
_LOW = (1 << _PLACE_BITS) - 1


def no_ids(size: int) -> NDArray[np.int64]:
    """An empty table of that many places, a power of two."""
    return np.full(size, _FREE, np.int64)


@bare_kernel
def key_of(data: NDArray[np.uint8], start: int, length: int) -> tuple[np.int64, np.int64]:
    """An id's bytes as two integers."""
    low, high = np.uint64(0), np.uint64(0)
    if length <= _EXACT_BYTES:
        for i in range(min(length, 8)):
            low |= np.uint64(data[start + i]) << np.uint64(8 * i)
        for i in range(8, length):
            high |= np.uint64(data[start + i]) << np.uint64(8 * (i - 8))
        return np.int64(high | np.uint64(length) << np.uint64(56)), np.int64(low)
    low, high = np.uint64(14695981039346656037), np.uint64(length)
    for i in range(length):
        byte = np.uint64(data[start + i])
        low = (low ^ byte) * np.uint64(1099511628211)
        high = mixed(high + byte + np.uint64(0x9E3779B97F4A7C15))
    return np.int64((high >> np.uint64(8)) | np.uint64(_HASHED) << np.uint64(56)), np.int64(low)


@inlined
def mixed(x: np.uint64) -> np.uint64:
    """Every bit of the result depends on every bit of x (splitmix64's finalizer)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def hash_of(symbol: int, source: int, high: np.int64, low: np.int64) -> np.int64:
    """32 bits of a key and of whose it is."""
    who = np.uint64(symbol) << np.uint64(32) | np.uint64(source)
    spread = mixed(
        np.uint64(low)
        ^ np.uint64(high) * np.uint64(0x9E3779B97F4A7C15)
        ^ (who + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
    )
    return np.int64(spread >> np.uint64(32))


@inlined
def first_place(ids: NDArray[np.int64], spread: np.int64) -> np.int64:
    """Where the search for a key of this hash begins."""
    return spread & (ids.size - 1)


@bare_kernel
def find_trade(tables: Tables, symbol: int, source: int, high: np.int64, low: np.int64, floor_ns: int) -> int:
    """The place in the window of the source's trade with this id, not older than `floor_ns`; -1: none."""
    spread = hash_of(symbol, source, high, low)
    at = first_place(tables.ids, spread)
    while tables.ids[at] != _FREE:
        if tables.ids[at] >> _PLACE_BITS & _LOW == spread:
            place = tables.ids[at] & _LOW
            kept = tables.window[place]
            same = kept.id_low == low and kept.id_high == high
            if same and kept.symbol == symbol and kept.source == source and kept.event_ns >= floor_ns:
                return place
        at = (at + 1) & (tables.ids.size - 1)
    return -1


@bare_kernel
def remember_id(tables: Tables, place: int) -> None:
    """Make the trade at this place of the window one that can be found. Half of the table is always free."""
    kept = tables.window[place]
    put_id(tables.ids, hash_of(kept.symbol, kept.source, kept.id_high, kept.id_low), place)


@inlined
def put_id(ids: NDArray[np.int64], spread: np.int64, place: int | np.int64) -> None:
    """A place and its hash, where the next search for the key will come by."""
    at = first_place(ids, spread)
    while ids[at] != _FREE:
        at = (at + 1) & (ids.size - 1)
    ids[at] = spread << _PLACE_BITS | place


@bare_kernel
def move_ids(ids: NDArray[np.int64], larger: NDArray[np.int64]) -> None:
    """All that a table holds into a larger, empty one."""
    for entry in ids:
        if entry != _FREE:
            put_id(larger, entry >> _PLACE_BITS & _LOW, entry & _LOW)


@bare_kernel
def index_ids(tables: Tables) -> None:
    """The whole table anew, after the window has moved."""
    tables.ids[:] = _FREE
    for place in range(tables.registers[N_KEPT]):
        if tables.window[place].has_id:
            remember_id(tables, place)
