"""The C library's client below the Python one: its functions, and its brokers where it has forgotten them.

Of the library only its public interface is used, which is stable (rdkafka.h); of the client one fact that
is not public: that its objects begin with the library's handle (tests/unit/kafka/test_records.py).
"""

import ctypes
from ctypes import c_char_p, c_int, c_int32, c_void_p
from typing import Any, cast

from confluent_kafka import Consumer, Producer, cimpl
from confluent_kafka.admin import AdminClient

Client = Consumer | Producer | AdminClient
_LIBRARY = ctypes.CDLL(cimpl.__file__)  # the client's module leads to the library that it is linked with


def function_of(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library."""
    found = getattr(_LIBRARY, name)
    found.restype, found.argtypes = result, arguments
    return found


def handle_of(client: Client) -> int:
    """The address of the library's client (rd_kafka_t) inside the Python one. It lives as long as that is open."""
    return cast(int, c_void_p.from_address(id(client) + object.__basicsize__).value)


_controller = function_of("rd_kafka_controllerid", c_int32, c_void_p, c_int)
_add_brokers = function_of("rd_kafka_brokers_add", c_int, c_void_p, c_char_p)


def remind_of_brokers(client: Client, bootstrap: str) -> None:
    """Name the first brokers again to an open client that knows of no controller. Costs nothing where it knows one.

    A cluster may say that it has no brokers: one alone that was paused for longer than its session, as by a laptop's
    sleep, or in a rolling restart. The library then drops all that it knows, and asks nobody ever again
    (https://github.com/confluentinc/librdkafka/issues/5301).
    """
    handle = handle_of(client)
    if handle and _controller(handle, 0) < 0:
        _add_brokers(handle, bootstrap.encode())
