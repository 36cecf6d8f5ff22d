"""Names inside kernels: a hash table over the strings of a StringTable, with the same ids."""

import numpy as np

from marketpulse.compiled import bare_kernel, inlined
from marketpulse.kafka.words import PADDING, load_word
from marketpulse.model.market import Bytes, Ids, Ints, StringTable

_MIX = -7046029254386353131
FULL = -1


@inlined
def _hash(data: Bytes, begin: int, end: int) -> int:
    value = (end - begin) * _MIX
    while begin < end:
        word = load_word(data, begin)
        if end - begin < 8:
            word &= (1 << ((end - begin) * 8)) - 1
        value = (value ^ word) * _MIX
        value ^= value >> 32
        begin += 8
    return int(value)


@inlined
def _same(data: Bytes, begin: int, end: int, pool: Bytes, place: int) -> bool:
    while begin < end:
        word = load_word(data, begin)
        if end - begin < 8:
            word &= (1 << ((end - begin) * 8)) - 1
        if word != load_word(pool, place):
            return False
        begin += 8
        place += 8
    return True


@inlined
def intern_name(data: Bytes, begin: int, end: int, slots: Ids, entries: Ints, pool: Bytes, counts: Ints) -> int:
    """The id of `data[begin:end]`, which is added when it is new; FULL when there is no room for it."""
    value = _hash(data, begin, end)
    mask = len(slots) - 1
    slot = value & mask
    while slots[slot] >= 0:
        found = slots[slot]
        if (
            entries[found, 2] == value
            and entries[found, 1] == end - begin
            and _same(data, begin, end, pool, entries[found, 0])
        ):
            return int(found)
        slot = (slot + 1) & mask
    number, place = counts[0], counts[1]
    if number >= len(entries) or place + (end - begin) + 16 > len(pool):
        return FULL
    entries[number, 0], entries[number, 1], entries[number, 2] = place, end - begin, value
    for i in range(end - begin):
        pool[place + i] = data[begin + i]
    slots[slot] = number
    counts[0] = number + 1
    counts[1] = place + ((end - begin + 7) // 8) * 8
    return int(number)


@bare_kernel
def _fill_slots(entries: Ints, count: int, slots: Ids) -> None:
    mask = len(slots) - 1
    for number in range(count):
        slot = entries[number, 2] & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = number


class NameTable:
    """A StringTable's names where kernels can find them: `slots`, `entries`, `pool`, `counts`.

    entries (capacity, 3) int64: place in the pool, length in bytes, hash. The pool holds the names
    padded with zeros to whole words. Call `pull` before a kernel, `push` after it: both tables only
    grow, and their ids are the same.
    """

    def __init__(self, strings: StringTable) -> None:
        self.strings = strings
        self.entries: Ints = np.zeros((1_024, 3), np.int64)
        self.slots: Ids = np.full(4_096, -1, np.int32)
        self.pool: Bytes = np.zeros(16 * 1_024, np.uint8)
        self.counts: Ints = np.zeros(2, np.int64)

    def pull(self) -> None:
        """Take in the strings that others have interned since."""
        while self.counts[0] < len(self.strings):
            text = self.strings[int(self.counts[0])].encode()
            while self._add(text) == FULL:
                self.grow(len(text))

    def _add(self, text: bytes) -> int:
        data = np.frombuffer(text + PADDING, np.uint8)
        return intern_name(data, 0, len(text), self.slots, self.entries, self.pool, self.counts)

    def push(self) -> None:
        """Give the strings that a kernel has added to the StringTable."""
        for number in range(len(self.strings), int(self.counts[0])):
            place, length = self.entries[number, :2].tolist()
            self.strings.intern(self.pool[place : place + length].tobytes().decode())

    def grow(self, name_bytes: int = 0) -> None:
        """Double the room."""
        count = int(self.counts[0])
        entries = np.zeros((2 * len(self.entries), 3), np.int64)
        entries[:count] = self.entries[:count]
        pool = np.zeros(2 * len(self.pool) + name_bytes, np.uint8)
        pool[: len(self.pool)] = self.pool
        self.slots = np.full(4 * len(entries), -1, np.int32)
        self.entries, self.pool = entries, pool
        _fill_slots(entries, count, self.slots)
