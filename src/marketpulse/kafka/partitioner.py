"""Which partition a key goes to, as Java clients decide it: murmur2 of its bytes, made positive."""

from collections.abc import Sequence

import numpy as np

from marketpulse.compiled import bare_kernel
from marketpulse.kafka.words import load_byte
from marketpulse.model.market import Bytes, Ids, Ints

_SEED, _MIX = 0x9747B28C, 0x5BD1E995
_WORD = 0xFFFFFFFF


def partitions_of(keys: Sequence[bytes], partitions: int) -> Ids:
    """(n,) the partition of each key among `partitions`."""
    ends = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)), out=ends[1:])
    out = np.empty(len(keys), np.int32)
    _hash_keys(np.frombuffer(b"".join(keys) + b"\0", np.uint8), ends, partitions, out)
    return out


@bare_kernel
def _hash_keys(data: Bytes, ends: Ints, partitions: int, out: Ids) -> None:
    for i in range(len(out)):
        place, end = ends[i], ends[i + 1]
        value = _SEED ^ (end - place)
        while end - place >= 4:
            word = load_byte(data, place) | load_byte(data, place + 1) << 8
            word |= load_byte(data, place + 2) << 16 | load_byte(data, place + 3) << 24
            word = word * _MIX & _WORD
            word = (word ^ word >> 24) * _MIX & _WORD
            value = (value * _MIX & _WORD) ^ word
            place += 4
        if place < end:
            for at in range(end - place):
                value ^= load_byte(data, place + at) << (8 * at)
            value = value * _MIX & _WORD
        value = (value ^ value >> 13) * _MIX & _WORD
        value ^= value >> 15
        out[i] = (value & 0x7FFFFFFF) % partitions
