"""Eight bytes at a time, for kernels: unaligned loads and stores, and products of 128 bits.

The compiler has no names for them in Python. Words are little-endian, as on every machine that we
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
_copy = cast(Callable[..., Any], cgutils.raw_memcpy)


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


def _store_word(typing_context: Any, data: Any, index: Any, word: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = _proxy(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(place, ir.PointerType(ir.IntType(64))), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.int64), generate


def _loader(bits: int) -> Any:
    def load(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            place = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(bits)))
            found = builder.load(place, align=1)
            return found if bits == 64 else builder.sext(found, ir.IntType(64))

        return types.int64(types.int64), generate

    return load


def _copy_bytes(typing_context: Any, target: Any, source: Any, length: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        byte = ir.PointerType(ir.IntType(8))
        target, source = (builder.inttoptr(address, byte) for address in arguments[:2])
        _copy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _double_at(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.load(builder.inttoptr(arguments[0], ir.PointerType(ir.DoubleType())), align=1)

    return types.float64(types.int64), generate


def _scaled_odd(typing_context: Any, high: Any, low: Any, factor: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        long, wide = ir.IntType(64), ir.IntType(128)
        sixty_four = ir.Constant(wide, 64)
        high, low, factor = (builder.zext(argument, wide) for argument in arguments)
        carried = builder.lshr(builder.mul(low, factor), sixty_four)
        product = builder.add(builder.mul(high, factor), carried)
        rest = builder.icmp_unsigned(">", builder.trunc(product, long), ir.Constant(long, 1))
        return builder.or_(builder.trunc(builder.lshr(product, sixty_four), long), builder.zext(rest, long))

    return types.int64(types.int64, types.int64, types.int64), generate


load_word = cast(Callable[[Bytes, int], int], intrinsic(_load_word))
"""`load_word(data, i)`: bytes i … i+7 as one int64. No bounds check: pad the array with PADDING."""

load_byte = cast(Callable[[Bytes, int], int], intrinsic(_load_byte))
"""`load_byte(data, i)`: byte i as int64, 0 … 255. No bounds check: pad the array with PADDING."""

trailing_zeros = cast(Callable[[int], int], intrinsic(_trailing_zeros))
"""`trailing_zeros(word)`: the place of the lowest set bit; the word must not be 0."""

store_word = cast(Callable[[Bytes, int, int], None], intrinsic(_store_word))
"""`store_word(data, i, word)`: write bytes i … i+7. No bounds check."""

word_at = cast(Callable[[int], int], intrinsic(_loader(64)))
"""`word_at(address)`: eight bytes of memory as int64. The caller keeps the memory alive and in bounds."""

half_word_at = cast(Callable[[int], int], intrinsic(_loader(32)))
"""`half_word_at(address)`: four bytes of memory as a signed number."""

byte_at = cast(Callable[[int], int], intrinsic(_loader(8)))
"""`byte_at(address)`: one byte of memory as a signed number."""

copy_bytes = cast(Callable[[int, int, int], None], intrinsic(_copy_bytes))
"""`copy_bytes(target, source, length)`: memory from one address to another; they must not overlap."""

double_at = cast(Callable[[int], float], intrinsic(_double_at))
"""`double_at(address)`: eight bytes of memory as a float."""

scaled_odd = cast(Callable[[int, int, int], int], intrinsic(_scaled_odd))
"""`scaled_odd(high, low, factor)`: (high·2⁶⁴ + low)·factor / 2¹²⁸, unsigned, its lowest bit set when the
result is not exact ("rounded to odd"), so that comparisons with it come out right."""
