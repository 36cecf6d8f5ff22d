"""Records straight from the client's own memory, without an object for each: 0.3 µs instead of 1.9 µs.

The partitions' fetches are led into one queue beside the consumer's. The consumer still has all the rest,
rebalances and faults among it, so both are polled, by one thread.
"""

import ctypes
import math
import weakref
from collections.abc import Iterable

import numpy as np
from confluent_kafka import KafkaError
from numpy.typing import NDArray

from marketpulse.compiled import bare_kernel
from marketpulse.errors import Retryable
from marketpulse.kafka import native
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.kafka.frame_writer import FRAME_CONTENT_TYPE
from marketpulse.kafka.handle import handle_of
from marketpulse.kafka.log_consumer import Fault, LogConsumer
from marketpulse.kafka.native import call_long, call_void
from marketpulse.kafka.records import FRAME, NO_KEY, NO_VALUE, Records
from marketpulse.kafka.unreadable import UNREADABLE
from marketpulse.kafka.words import PADDING, byte_at, copy_bytes, half_word_at, word_at
from marketpulse.model.market import Bytes, Ints

BYTES_MOST = 8_000_000
"""What is taken at once: 50,000 JSON records, or the 100,000 trades of nine Arrow frames. A turn of the engine is not
long then, and its transaction is closed in time."""

_ASK = 8  # a mark for the time of a call: the value begins like no JSON object, so the headers are asked
_GROWTH, _ASKED_MOST = 4, 1_024  # the first records need not be like those behind them
_OPENS, _SPACE = ord("{"), ord(" ")
_CONTENT_TYPE = b"content-type"


class RecordQueue:
    """The records of a consumer's partitions. Close it before the consumer."""

    def __init__(self, consumer: LogConsumer) -> None:
        self._consumer = consumer  # its memory is used: it must outlive this
        self._handle = handle_of(consumer)
        self._queue = native.queue_new(self._handle)
        # A client waits for ever for whoever holds a queue of its, at the end of the process too.
        self._let_go = weakref.finalize(self, native.queue_destroy, self._queue)
        self._topic, self._partitions = "", 0  # the highest number and one
        self._pointers: Ints = np.empty(0, np.int64)

    def lead_here(self, topic: str, partitions: Iterable[int]) -> None:
        """From now on these partitions' records come here, of one topic. Call it before they are assigned, each time."""
        self._topic = topic
        for partition in partitions:
            own = native.queue_of_partition(self._handle, topic.encode(), partition)
            native.queue_forward(own, self._queue)
            native.queue_destroy(own)
            self._partitions = max(self._partitions, partition + 1)
        lead = weakref.WeakMethod(self.lead_here)
        self._consumer.leads[topic] = lambda *again: None if (method := lead()) is None else method(*again)

    def take(self, timeout_s: float, most: int, most_bytes: int = BYTES_MOST) -> list[Records]:
        """What has come: waits for a first record, then drains, until it has `most` records or about `most_bytes`.
        The records of each partition in order.

        What cannot be read is stepped over (log_consumer). Raises Retryable when the log cannot be read; then nothing
        of it was taken.
        """
        if len(self._pointers) < most:
            self._pointers = np.empty(most, np.int64)
        count = size = 0
        wait_ms, asked = math.ceil(timeout_s * 1_000), 1
        while asked > 0:  # as many as fit, by the size of those that came
            end = self._pointers[count : count + asked]
            found = native.consume(self._queue, wait_ms, end.ctypes.data, asked)
            if found <= 0:
                break
            count, size = count + found, size + bytes_of(end[:found])
            wait_ms, asked = 0, min(most - count, (most_bytes - size) * count // max(size, 1))
            asked = min(asked, _GROWTH * count, _ASKED_MOST)
        pointers = self._pointers[:count]
        faults: list[Fault] = []
        if first_fault(pointers) >= 0:
            pointers, faults = self._without_faults(pointers)
        records = laid_out(pointers, self._partitions) if len(pointers) else []
        for run in records:
            self._consumer.handed_on((self._topic, run.partition), int(run.offsets[-1]))
        self._consumer.step_over(faults)
        return records

    def _without_faults(self, pointers: Ints) -> tuple[Ints, list[Fault]]:
        """The messages that can be read, and what is wrong with the first of the others in each partition; those behind it
        are gone, to be read again. Raises Retryable for what cannot be stepped over."""
        faults: dict[tuple[str, int], Fault] = {}
        kept, gone = [], []
        try:
            for pointer in pointers.tolist():
                fault = fault_of(pointer)
                place = (fault.topic, fault.partition)
                if place in faults or self._consumer.reads_on(place, fault.code):
                    gone.append(pointer)
                elif fault.code not in UNREADABLE and fault.code != KafkaError.NO_ERROR:
                    raise Retryable(f"the log could not be read: {fault.text}")
                elif fault.code == KafkaError.NO_ERROR and fault.size <= MESSAGE_BYTES_MAX:
                    kept.append(pointer)
                    self._consumer.handed_on(place, fault.offset)
                else:
                    faults[place] = fault
                    gone.append(pointer)
        except Retryable:
            gone = pointers.tolist()
            raise
        finally:
            for pointer in gone:
                native.message_destroy(pointer)
        return np.array(kept, np.int64), list(faults.values())

    def close(self) -> None:
        """Let go of what is still in the queue."""
        self._let_go()


_TIMESTAMP = native.address_of(native.message_timestamp)
_DESTROY = native.address_of(native.message_destroy)


def laid_out(pointers: Ints, partitions: int) -> list[Records]:
    """Messages of the client (n,), by address, of partitions below `partitions`, as columns; they are gone then."""
    counts, sizes, key_sizes = np.zeros((3, partitions), np.int64)
    _measure(pointers, counts, sizes, key_sizes)
    found = np.flatnonzero(counts)
    counts, sizes, key_sizes = counts[found], sizes[found] + len(PADDING), key_sizes[found] + len(PADDING)
    slots = np.zeros(partitions, np.int64)
    slots[found] = np.arange(len(found))
    rows, first, key_first = _begins(counts), _begins(sizes), _begins(key_sizes)
    n, places = len(pointers), np.empty(len(pointers), np.int64)
    data, keys = np.empty(first[-1], np.uint8), np.empty(key_first[-1], np.uint8)
    ends, key_ends = np.empty((2, n + len(found)), np.int64)
    offsets, appended_ms = np.empty((2, n), np.int64)
    marks = np.empty(n, np.int8)
    _lay_out(
        pointers, slots, rows[:-1].copy(), first[:-1], key_first[:-1], data, ends, keys, key_ends, offsets, appended_ms,
        marks, places, _TIMESTAMP, _DESTROY,
    )  # fmt: skip
    _ask_headers(pointers, places, marks)
    data.flags.writeable = keys.flags.writeable = False
    return [
        Records(
            int(partition), data[first[i] : first[i + 1]], ends[rows[i] + i : rows[i + 1] + i + 1],
            keys[key_first[i] : key_first[i + 1]], key_ends[rows[i] + i : rows[i + 1] + i + 1],
            offsets[rows[i] : rows[i + 1]], appended_ms[rows[i] : rows[i + 1]], marks[rows[i] : rows[i + 1]],
        )
        for i, partition in enumerate(found)
    ]  # fmt: skip


def _begins(sizes: Ints) -> Ints:
    """Where each of stretches of these sizes begins, and the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _ask_headers(pointers: Ints, places: Ints, marks: NDArray[np.int8]) -> None:
    """Of the messages that were left: which are Arrow frames."""
    for i in np.flatnonzero(pointers).tolist():
        marks[places[i]] &= ~_ASK
        if _content_type(int(pointers[i])) == FRAME_CONTENT_TYPE:
            marks[places[i]] |= FRAME
        native.message_destroy(int(pointers[i]))


def fault_of(message: int) -> Fault:
    """What a message says of itself; of a record `code` is NO_ERROR."""
    head = ctypes.cast(message, ctypes.POINTER(native.MessageHead)).contents
    code = int(head.error)
    text = native.message_error(message).decode(errors="replace") if code else ""
    topic = native.topic_name(head.topic).decode() if head.topic else ""
    return Fault(topic, head.partition, head.offset, code, text, -1 if code else head.length + head.key_length)


def _content_type(message: int) -> bytes | None:
    headers, value, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
    if native.message_headers(message, ctypes.byref(headers)) != 0:
        return None
    found = native.last_header(headers, _CONTENT_TYPE, ctypes.byref(value), ctypes.byref(size))
    return None if found != 0 or value.value is None else ctypes.string_at(value.value, size.value)


@bare_kernel
def bytes_of(pointers: Ints) -> int:
    """The length of all these messages' values."""
    size = 0
    for message in pointers:
        size += word_at(message + native.LENGTH)
    return size


@bare_kernel
def first_fault(pointers: Ints) -> int:
    """The first message that is an error, or too large to be one of ours; -1: none is."""
    for i in range(len(pointers)):
        message = pointers[i]
        size = word_at(message + native.LENGTH) + word_at(message + native.KEY_LENGTH)
        if half_word_at(message + native.ERROR) != 0 or size > MESSAGE_BYTES_MAX:
            return i
    return -1


@bare_kernel
def _measure(pointers: Ints, counts: Ints, sizes: Ints, key_sizes: Ints) -> None:
    """Count records and bytes by partition, (p,) each."""
    for message in pointers:
        partition = half_word_at(message + native.PARTITION)
        counts[partition] += 1
        sizes[partition] += word_at(message + native.LENGTH)
        key_sizes[partition] += word_at(message + native.KEY_LENGTH)


@bare_kernel
def _lay_out(
    pointers: Ints, slots: Ints, rows: Ints, first: Ints, key_first: Ints, data: Bytes, ends: Ints, keys: Bytes,
    key_ends: Ints, offsets: Ints, appended_ms: Ints, marks: NDArray[np.int8], places: Ints, timestamp: int, destroy: int,
) -> None:  # fmt: skip
    """Copy the messages (n,) into their partitions' stretches and destroy them, but for those marked _ASK.

    `slots` (p,) numbers the k partitions that have records; `rows` (k,) holds each one's next row, and moves on;
    `first` and `key_first` (k,) where its bytes begin. Destroyed messages' pointers become 0.
    """
    for slot in range(len(rows)):
        ends[rows[slot] + slot] = key_ends[rows[slot] + slot] = 0
    for i in range(len(pointers)):
        message = pointers[i]
        slot = slots[half_word_at(message + native.PARTITION)]
        row = rows[slot]
        rows[slot] = row + 1
        places[i] = row
        value, length = word_at(message + native.PAYLOAD), word_at(message + native.LENGTH)
        key, key_length = word_at(message + native.KEY), word_at(message + native.KEY_LENGTH)
        end = row + slot
        copy_bytes(data.ctypes.data + first[slot] + ends[end], value, length)
        copy_bytes(keys.ctypes.data + key_first[slot] + key_ends[end], key, key_length)
        ends[end + 1], key_ends[end + 1] = ends[end] + length, key_ends[end] + key_length
        offsets[row] = word_at(message + native.OFFSET)
        appended_ms[row] = call_long(timestamp, message, 0)
        mark = (NO_VALUE if value == 0 else 0) | (NO_KEY if key == 0 else 0)
        place = 0
        while place < length and byte_at(value + place) & 255 <= _SPACE:
            place += 1
        if place < length and byte_at(value + place) & 255 != _OPENS:
            mark |= _ASK
        else:
            call_void(destroy, message)
            pointers[i] = 0
        marks[row] = mark
