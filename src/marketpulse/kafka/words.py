"""Eight bytes at a time, for kernels: an unaligned load and the place of the lowest set bit.

The compiler has no name for either in Python. Words are little-endian, as on every machine that we
run on (x86-64, arm64); the byte at the lower address is the lower byte of the word.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from marketpulse.model.market import Bytes

PADDING = bytes(16)
"""What must stand behind the last byte of an array that `load_word` reads."""


_proxy = cast(Callable[[Any], Any], cgutils.create_struct_proxy)


def _load_word(typing_context: Any, data: Any, index: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = _proxy(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.bitcast(place, ir.PointerType(ir.IntType(64)))
        return builder.load(word, align=1)

    return types.int64(data, types.int64), generate


def _load_byte(typing_context: Any, data: Any, index: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = _proxy(signature.args[0])(context, builder, arguments[0])
        return builder.zext(builder.load(builder.gep(array.data, [arguments[1]])), ir.IntType(64))

    return types.int64(data, types.int64), generate


def _trailing_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


load_word = cast(Callable[[Bytes, int], int], intrinsic(_load_word))
"""`load_word(data, i)`: bytes i … i+7 as one int64. No bounds check: pad the array with PADDING."""

load_byte = cast(Callable[[Bytes, int], int], intrinsic(_load_byte))
"""`load_byte(data, i)`: byte i as int64, 0 … 255. No bounds check: pad the array with PADDING."""

trailing_zeros = cast(Callable[[int], int], intrinsic(_trailing_zeros))
"""`trailing_zeros(word)`: the place of the lowest set bit; the word must not be 0."""
