"""The C library below the Python client, on the client's own handles: for what is done per record.

The Python client makes an object for each record that it reads, and a call for each that it writes:
1.9 µs and 2.1 µs of the interpreter's thread. Here kernels walk the library's own memory instead (0.3 µs
each). Everything else, such as groups, transactions, errors and settings, stays with the client.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_ssize_t, c_void_p
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from marketpulse.kafka.handle import function_of

# Places in rd_kafka_message_t.
ERROR, PARTITION, PAYLOAD, LENGTH, KEY, KEY_LENGTH, OFFSET = 0, 16, 24, 32, 40, 48, 56


class MessageHead(ctypes.Structure):
    """The same message field by field, for what is seldom looked at."""

    _fields_ = (
        ("error", c_int), ("topic", c_void_p), ("partition", c_int32), ("payload", c_void_p), ("length", c_size_t),
        ("key", c_void_p), ("key_length", c_size_t), ("offset", ctypes.c_int64),
    )  # fmt: skip


client_name = function_of("rd_kafka_name", c_char_p, c_void_p)
last_error = function_of("rd_kafka_last_error", c_int)
fatal_error = function_of("rd_kafka_fatal_error", c_int, c_void_p, c_char_p, c_size_t)
queue_new = function_of("rd_kafka_queue_new", c_void_p, c_void_p)
queue_destroy = function_of("rd_kafka_queue_destroy", None, c_void_p)
queue_of_partition = function_of("rd_kafka_queue_get_partition", c_void_p, c_void_p, c_char_p, c_int32)
queue_forward = function_of("rd_kafka_queue_forward", None, c_void_p, c_void_p)
consume = function_of("rd_kafka_consume_batch_queue", c_ssize_t, c_void_p, c_int, c_void_p, c_size_t)
message_error = function_of("rd_kafka_message_errstr", c_char_p, c_void_p)
message_headers = function_of("rd_kafka_message_headers", c_int, c_void_p, c_void_p)
message_timestamp = function_of("rd_kafka_message_timestamp", ctypes.c_int64, c_void_p, c_void_p)
message_destroy = function_of("rd_kafka_message_destroy", None, c_void_p)
last_header = function_of("rd_kafka_header_get_last", c_int, c_void_p, c_char_p, c_void_p, c_void_p)
topic_new = function_of("rd_kafka_topic_new", c_void_p, c_void_p, c_char_p, c_void_p)
topic_name = function_of("rd_kafka_topic_name", c_char_p, c_void_p)
topic_destroy = function_of("rd_kafka_topic_destroy", None, c_void_p)
produce = function_of(
    "rd_kafka_produce", c_int, c_void_p, c_int32, c_int, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p
)


def address_of(function: Any) -> int:
    """Where a function of the library begins, for a kernel that calls it."""
    return cast(int, ctypes.cast(function, c_void_p).value)


_LONG = ir.IntType(64)
_INT = ir.IntType(32)


def _call_void(typing_context: Any, function: Any, argument: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        kind = ir.FunctionType(ir.VoidType(), [_LONG])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _call_long(typing_context: Any, function: Any, first: Any, second: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        kind = ir.FunctionType(_LONG, [_LONG, _LONG])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int64(types.int64, types.int64, types.int64), generate


def _call_produce(
    typing_context: Any, function: Any, topic: Any, value: Any, length: Any, key: Any, key_length: Any  # noqa: ARG001
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        address, topic, value, length, key, key_length = arguments
        kind = ir.FunctionType(_INT, [_LONG, _INT, _INT, _LONG, _LONG, _LONG, _LONG, _LONG])
        any_partition, copy_value = ir.Constant(_INT, -1), ir.Constant(_INT, 2)
        sent = builder.call(
            builder.inttoptr(address, kind.as_pointer()),
            [topic, any_partition, copy_value, value, length, key, key_length, ir.Constant(_LONG, 0)],
        )
        return builder.sext(sent, _LONG)

    six = [types.int64] * 6
    return types.int64(*six), generate


call_void = cast(Callable[[int, int], None], intrinsic(_call_void))
"""`call_void(function, argument)`: call a C function at an address, for kernels."""

call_long = cast(Callable[[int, int, int], int], intrinsic(_call_long))
"""`call_long(function, first, second)`: the same, with two arguments and an int64 result."""

call_produce = cast(Callable[[int, int, int, int, int, int], int], intrinsic(_call_produce))
"""`call_produce(produce, topic, value, length, key, key_length)`: rd_kafka_produce with a copied value, to the
partition that the topic's partitioner gives. 0, or -1 when it was refused."""
